//! Which predefined macros `#pragma GCC target` and `optimize` may change.

/// Whether a name looks like that of a feature of a processor, or of a setting of the optimiser.
pub fn may_change(name: &[u8]) -> bool {
    let Some(inner) = name.strip_prefix(b"__") else { return false };
    FAMILIES.split(' ').any(|family| inner.starts_with(family.as_bytes()))
}

/// Beginnings of the names, of gcc 12's and clang 14's targets.
const FAMILIES: &str = "3dNOW ABM ADX AES ALTIVEC AMX APPLE_ALTIVEC ARM_ AVX BMI CET CLDEMOTE CLFLUSH CLWB CLZERO CRC32 \
    CRYPTO ENQCMD F16C FAST_MATH FINITE_MATH FLOAT128 FMA FP_FAST FSGSBASE FXSR GCC_IEC GFNI HLE HRESET \
    HTM KL LAHF LWP LZCNT MMX MOVBE MOVDIR MWAIT NO_INLINE NO_MATH NO_SIGNED NO_TRAPPING OPTIMIZE PCLMUL \
    PCONFIG PKU POPCNT POWER PRFCHW PTWRITE QUAD_MEMORY RDPID RDRND RDSEED RECIP ROUNDING RTM SERIALIZE \
    SGX SHA SHSTK SSE SSSE SUPPORT_SNAN TBM TSXLDTRK UINTR VAES VEC__ VPCLMUL VSX WAITPKG WBNOINVD \
    WIDEKL XOP XSAVE aarch64 amd arch atom bdver bonnell btver core corei7 geode goldmont haswell i386 \
    i486 i586 i686 icelake k6 k8 knl knm nehalem nocona pentium sandybridge silvermont skylake skx slm \
    tigerlake tremont tune_ znver";
