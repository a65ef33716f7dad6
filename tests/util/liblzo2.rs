//! The C library that stock distcc compresses with, if this machine has it (Debian's `distcc` brings it along): loaded at
//! run time, so that nothing of ours needs it to be built.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_ulong, c_void};

use distcc::wire::lzo::{Encoder, decompress};

/// `lzo1x_1_compress` and `lzo1x_decompress_safe`: source, its length, destination, its length, memory to work with.
type Function = unsafe extern "C" fn(*const u8, c_ulong, *mut u8, *mut c_ulong, *mut c_void) -> c_int;

unsafe extern "C" {
    fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

/// Binds all names when the library is loaded.
const RTLD_NOW: c_int = 2;

/// Bytes that the compressor works with: 16384 pointers.
const WORK: usize = 16384 * size_of::<usize>();

/// The library, and the memory it works with.
pub struct Liblzo2 {
    compress: Function,
    decompress: Function,
    work: Vec<usize>,
}

impl Liblzo2 {
    /// `None` if this machine has no such library.
    pub fn load() -> Option<Self> {
        // SAFETY: the name is a C string; the library's initialisation has no side effects.
        let library = unsafe { dlopen(c"liblzo2.so.2".as_ptr(), RTLD_NOW) };
        let find = |name: &CStr| -> Option<Function> {
            if library.is_null() {
                return None;
            }
            // SAFETY: `library` is one that `dlopen` returned, and is never closed.
            let function = unsafe { dlsym(library, name.as_ptr()) };
            // SAFETY: both functions have this type since version 2.00 of the library, and the option is null if there is
            // none.
            unsafe { std::mem::transmute::<*mut c_void, Option<Function>>(function) }
        };
        let (compress, decompress) = (find(c"lzo1x_1_compress")?, find(c"lzo1x_decompress_safe")?);
        Some(Self { compress, decompress, work: vec![0; WORK / size_of::<usize>()] })
    }

    /// Makes a stream of `plain` at the start of `out`, and returns its length. `out` must have a sixteenth more room than
    /// `plain` is long, and 67 bytes: what the library's documentation asks for.
    pub fn compress(&mut self, plain: &[u8], out: &mut [u8]) -> usize {
        assert!(out.len() >= plain.len() + plain.len() / 16 + 67);
        let mut len = out.len() as c_ulong;
        // SAFETY: source and memory are as large as said, and the destination as large as the function may need.
        let status = unsafe {
            (self.compress)(
                plain.as_ptr(),
                plain.len() as c_ulong,
                out.as_mut_ptr(),
                &mut len,
                self.work.as_mut_ptr().cast(),
            )
        };
        assert_eq!(status, 0, "lzo1x_1_compress");
        len as usize
    }

    /// Expands a stream into the start of `out`, and returns the expansion's length, or the library's error number.
    pub fn decompress(&self, stream: &[u8], out: &mut [u8]) -> Result<usize, i32> {
        let mut len = out.len() as c_ulong;
        // SAFETY: source and destination are as large as said, which this function, unlike its sisters, keeps to.
        let status = unsafe {
            (self.decompress)(
                stream.as_ptr(),
                stream.len() as c_ulong,
                out.as_mut_ptr(),
                &mut len,
                std::ptr::null_mut(),
            )
        };
        if status == 0 { Ok(len as usize) } else { Err(status) }
    }
}

/// Ours and the library make the same of any bytes: as a text they go through either's encoder and the other's decoder, as a
/// stream both refuse them or expand them alike.
pub fn agree(library: &mut Liblzo2, bytes: &[u8]) {
    /// Of either decoder.
    const CEILING: usize = 1 << 20;
    let mut room = vec![0; CEILING.max(bytes.len() + bytes.len() / 16 + 67)];

    // A body of no bytes has no stream.
    if bytes.is_empty() {
        return;
    }
    let mut stream = Vec::new();
    Encoder::new().compress(bytes, &mut stream);
    assert_eq!(library.decompress(&stream, &mut room).map(|len| &room[..len]), Ok(bytes));
    let len = library.compress(bytes, &mut room);
    let mut plain = Vec::new();
    decompress(&room[..len], &mut plain, bytes.len()).unwrap();
    assert!(plain == bytes, "the library's stream");

    plain.clear();
    match (decompress(bytes, &mut plain, CEILING), library.decompress(bytes, &mut room[..CEILING])) {
        (Ok(()), Ok(len)) => assert!(plain == room[..len], "a stream's expansion"),
        (Err(_), Err(_)) => {}
        (ours, theirs) => panic!("ours says {ours:?}, the library {theirs:?}"),
    }
}
