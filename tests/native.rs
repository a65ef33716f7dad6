use std::fs;
use std::path::Path;

use crate::util::*;

/// Vectors, a builtin that needs a feature, and macros that tell the processor.
const SOURCE: &str = "
#ifdef __AVX2__
int features = 2;
#elif defined __AVX__
int features = 1;
#else
int features = 0;
#endif
#ifdef __tune_znver3__
int tune = 3;
#endif
int sum(const int *numbers, int count)
{
    int sum = 0;
    for (int at = 0; at < count; at++) sum += numbers[at] * 3;
    return sum + __builtin_popcount(sum);
}
float scale(float x, float y) { return x * y + features; }
";

/// Each object as the compiler alone makes it, and compiled on the server.
#[test]
fn words_for_this_processor_are_put_into_others() {
    let sets = [
        "gcc -march=native -O2",
        "gcc -mtune=native -O3",
        "gcc -march=native -mtune=native -O2",
        "gcc -mno-avx -march=native -O3 -ffast-math",
        "gcc -march=native -mtune=generic -mprefer-vector-width=128 -O3",
        "gcc -march=x86-64 -march=native -O3 --param l1-cache-size=64",
        "gcc -O3 -march=native -march=x86-64-v2",
        "gcc -mtune=native -march=x86-64-v3 -O3 -S",
        "clang -march=native -O2",
        "clang -mtune=native -O3",
        "clang -march=native -mtune=native -mno-avx2 -O3",
        "clang -mno-avx -march=native -O3 -gdwarf-4",
        "clang -march=x86-64 -march=native -O3 -S",
    ];
    if cfg!(not(target_arch = "x86_64")) {
        eprintln!("skipped: the option sets are those of x86");
        return;
    }
    for kind in [Kind::Ours, Kind::Stock] {
        let workspace = Workspace::new("native");
        workspace.write("a.c", SOURCE);
        let Some(daemon) = Daemon::of_kind(kind, &workspace, &[]) else { continue };
        let mut count = 0;
        for set in sets {
            let words: Vec<&str> = set.split(' ').collect();
            if !tool(words[0]) {
                continue;
            }
            succeed(workspace.command(words[0]).args(&words[1..]).args(["-c", "a.c", "-o", "expected"]));
            let output =
                succeed(workspace.distcc(&daemon.host()).args(&words).args(["-c", "a.c", "-o", "made"]));
            assert_eq!(stderr(&output), "", "{set}");
            let read = |name: &str| fs::read(workspace.work().join(name)).unwrap();
            assert!(read("made") == read("expected"), "{set}");
            count += 1;
            daemon.wait_for_jobs("COMPILE_OK", count);
        }
        assert!(!daemon.log().contains("=native"), "{}", daemon.log());
    }
}

/// With debug information one string differs: gcc notes the options it was given, and its driver puts a `--param` of the
/// user's elsewhere than those that it makes of `native` itself. What is noted is the same, and so is all else.
#[test]
fn debug_information_notes_the_same_options_in_another_order() {
    if cfg!(not(target_arch = "x86_64")) {
        eprintln!("skipped: gcc takes the processor apart on x86 only");
        return;
    }
    let workspace = Workspace::new("native-debug");
    workspace.write("a.c", SOURCE);
    let daemon = Daemon::ours(&workspace, &[]);
    let words = ["gcc", "-march=native", "-O2", "-g", "-S", "a.c", "-o"];
    succeed(workspace.command("gcc").args(&words[1..]).arg("expected"));
    succeed(workspace.distcc(&daemon.host()).args(words).arg("made"));
    daemon.wait_for_jobs("COMPILE_OK", 1);
    // Sorted, because gcc writes the table of strings in the order of their hashes.
    let parts = |name: &str| {
        let text = fs::read_to_string(workspace.work().join(name)).unwrap();
        let (all, strings) = text.split_once(".section\t.debug_str").expect("a table of strings");
        (all.to_owned(), strings_of(strings))
    };
    let (expected, made) = (parts("expected"), parts("made"));
    assert!(made.0 == expected.0, "not only strings differ");
    assert_eq!(made.1, expected.1);
}

/// The strings of a table, sorted, and the words of each; long ones take several lines of assembler text.
fn strings_of(table: &str) -> Vec<Vec<String>> {
    let (mut strings, mut whole) = (Vec::new(), String::new());
    for line in table.lines().map(str::trim_start) {
        let Some(part) = line.split_once('"').and_then(|(_, rest)| rest.strip_suffix('"')) else { continue };
        whole.push_str(part);
        if !line.starts_with(".ascii") {
            let text = std::mem::take(&mut whole).replace("--param ", "--param=");
            let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
            words.sort();
            strings.push(words);
        }
    }
    strings.sort();
    strings
}

/// A compiler that counts the questions, and answers as gcc does on ARM.
const ARM_COMPILER: &str = "#!/bin/sh
case \"$*\" in
*-###*) echo \"$*\" >>asked
    case \"$*\" in
    *-mcpu=native*|*-mcpu=cortex-a72*) cpu=-mcpu=cortex-a72 ;;
    *) echo 'gcc: error: no' >&2; exit 1 ;;
    esac
    printf ' /usr/lib/cc1 -quiet /dev/null \"-mfloat-abi=hard\" %s\\n as %s -o x\\n' $cpu $cpu >&2; exit ;;
esac
for word; do
    shift
    case $word in -mcpu=*) ;; *) set -- \"$@\" \"$word\" ;; esac
done
exec gcc \"$@\"
";

#[test]
fn the_compiler_is_asked_once() {
    let workspace = Workspace::new("nativearm");
    workspace.write("a.c", SOURCE);
    workspace.script("real/arm-gcc", ARM_COMPILER);
    let path = format!("{}:{}", workspace.path("real").display(), std::env::var("PATH").unwrap());
    let explain = |option: &str| {
        let mut client = workspace.distcc("127.0.0.1");
        client.env("PATH", &path).args(["--explain", "arm-gcc", option, "-O2", "-c", "a.c"]);
        String::from_utf8(succeed(&mut client).stdout).unwrap()
    };
    let asked = || fs::read_to_string(workspace.work().join("asked")).map_or(0, |text| text.lines().count());
    for _ in 0..2 {
        let text = explain("-mcpu=native");
        assert!(text.contains("\nserver gets: arm-gcc -mcpu=cortex-a72 -O2 -c a.c -o a.o\n"), "{text}");
        assert_eq!(asked(), 2, "the word, and what it was found to mean");
    }
    for _ in 0..2 {
        let text = explain("-march=native");
        assert!(text.starts_with("local: -march=native: it means this machine's processor"), "{text}");
        assert_eq!(asked(), 3);
    }
    // What stays here for another reason asks nobody, and a command that runs here keeps its words.
    let other = explain("-save-temps");
    assert!(other.starts_with("local: -save-temps"), "{other}");
    let mut client = workspace.distcc("127.0.0.1");
    client.env("PATH", &path).args(["arm-gcc", "-mcpu=native", "-save-temps", "-c", "a.c"]);
    succeed(&mut client);
    assert_eq!(asked(), 3);
    assert!(Path::new(&workspace.work().join("a.i")).exists());
}

/// Boards, by what the kernel says of their processors, and what gcc and clang call these. (An i.MX8 is a Pi 3 with
/// encryption.)
const BOARDS: [(&str, &str, &str, &str, &str); 3] = [
    ("Raspberry Pi 4", "fp asimd evtstrm crc32 cpuid", "0xd08", "-mcpu=cortex-a72", "-mcpu=cortex-a72"),
    (
        "i.MX8",
        "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid",
        "0xd03",
        "-mcpu=cortex-a53+crypto",
        "-mcpu=cortex-a53",
    ),
    (
        "Ampere Altra",
        "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp ssbs",
        "0xd0c",
        "-mcpu=ares+crypto+ssbs+noprofile",
        "-mcpu=neoverse-n1",
    ),
];

/// Debian's own gcc and clang for ARM, under qemu, on processors that are told by their `/proc/cpuinfo`: the object is the
/// one that they make by themselves, and comes from a cross compiler.
#[test]
fn a_boards_own_compilers_distribute_their_native() {
    let compilers = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/arm64");
    let is_there = compilers.join("complete").exists();
    assert!(
        is_there || std::env::var_os("CI").is_none(),
        "no compilers of a board: run tests/setup.sh extra"
    );
    if !is_there || !tool("qemu-aarch64-static") || !tool("aarch64-linux-gnu-gcc") || !tool("clang") {
        eprintln!("SKIPPED: no compilers of a board; run tests/setup.sh extra");
        return;
    }
    for (board, features, part, of_gcc, of_clang) in BOARDS {
        let workspace = Workspace::new("board");
        workspace.write("a.c", SOURCE);
        let root = workspace.path("root");
        fs::create_dir_all(root.join("proc")).unwrap();
        for name in ["etc", "lib", "usr"] {
            std::os::unix::fs::symlink(compilers.join("root").join(name), root.join(name)).unwrap();
        }
        let cpuinfo = format!(
            "processor\t: 0\nBogoMIPS\t: 108.00\nFeatures\t: {features}\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: {part}\nCPU revision\t: 3\n\n"
        );
        fs::write(root.join("proc/cpuinfo"), cpuinfo).unwrap();
        for name in ["gcc", "clang"] {
            let real = fs::canonicalize(compilers.join(name)).unwrap();
            let (root, real) = (root.display(), real.display());
            let script = format!("#!/bin/sh\nexec /usr/bin/qemu-aarch64-static -L {root} {real} \"$@\"\n");
            workspace.script(&format!("board/{name}"), &script);
        }
        let path = format!("{}:/usr/bin:/bin", workspace.path("board").display());
        let cross = Daemon::ours(&workspace, &["--toolchain", "aarch64-linux-gnu-=/usr/bin"]);
        let plain = Daemon::ours(&workspace, &[]);
        for (compiler, daemon, word) in [("gcc", &cross, of_gcc), ("clang", &plain, of_clang)] {
            let words = [compiler, "-mcpu=native", "-O3", "-fno-ident", "-c", "a.c", "-o"];
            let real = workspace.path("board").join(compiler);
            succeed(workspace.command(real).env("PATH", &path).args(&words[1..]).arg("expected"));
            let mut client = workspace.distcc(&daemon.host());
            client.env("PATH", &path).env("DISTCC_FALLBACK", "0").args(words).arg("made");
            assert_eq!(stderr(&succeed(&mut client)), "", "{board}, {compiler}");
            let read = |name: &str| fs::read(workspace.work().join(name)).unwrap();
            assert!(read("made") == read("expected"), "{board}, {compiler}: the objects differ");
            daemon.wait_for_jobs("COMPILE_OK", 1);
            let mut client = workspace.distcc("127.0.0.1");
            client.env("PATH", &path).arg("--explain").args(words).arg("made");
            let text = String::from_utf8(succeed(&mut client).stdout).unwrap();
            assert!(text.contains(&format!(" {word} ")), "{board}, {compiler}: {text}");
        }
    }
}
