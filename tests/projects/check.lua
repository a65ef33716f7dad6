-- Some of everything: closures, tables, strings, coroutines, errors, the collector.
assert(_VERSION == "Lua 5.4", _VERSION)

local function fib(n) return n < 2 and n or fib(n - 1) + fib(n - 2) end
assert(fib(20) == 6765)
assert(7 // 2 == 3 and 2 ^ 10 == 1024.0 and 0xff & 0x0f == 15)

local words = {}
for w in ("a compiler far away"):gmatch("%a+") do words[#words + 1] = w end
table.sort(words, function(a, b) return a > b end)
assert(table.concat(words, " ") == "far compiler away a")
assert(string.format("%5.2f|%-4s|%q", math.pi, "x", "y") == ' 3.14|x   |"y"')
assert(string.unpack("<i4", string.pack("<i4", -7)) == -7)

local squares = coroutine.wrap(function() for i = 1, 5 do coroutine.yield(i * i) end end)
local sum = 0
for s in squares do sum = sum + s end
assert(sum == 55)

local ok, message = pcall(error, { code = 42 })
assert(not ok and message.code == 42)
assert(load("return 1 + 1")() == 2 and load("return +") == nil)

local weak = setmetatable({}, { __mode = "v" })
weak[1] = {}
collectgarbage()
assert(weak[1] == nil)

print("lua: ok")
