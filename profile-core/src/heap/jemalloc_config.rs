//! The macro by which a binary sets up jemalloc's profiling.

/// Sets jemalloc's options for this program, so that heap profiles can be taken.
///
/// jemalloc reads its options once, before `main`, from a symbol of the program; profiling can't be
/// switched on later. Put the macro at the top of `main.rs`, in the program that makes
/// `tikv_jemallocator::Jemalloc` its global allocator:
///
/// ```ignore
/// #[global_allocator]
/// static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
///
/// profilez::jemalloc_config!();
/// ```
///
/// Without an argument profiling is on with one sample every 512 KiB. What is sampled is recorded
/// from the moment on that [`heap::install`](crate::heap::install) is called, or that a server is
/// started. An argument is taken as it is:
/// `jemalloc_config!("prof:true,prof_active:false,lg_prof_sample:20")`. The environment variable
/// `_RJEM_MALLOC_CONF` overrides single options of either.
///
/// It defines the symbol of jemalloc's ordinary, prefixed build (`_rjem_malloc_conf`) and that of a
/// build with `unprefixed_malloc_on_supported_platforms` (`malloc_conf`). A program that already
/// defines one of them gets an error from the linker, and adds the options there instead.
#[macro_export]
macro_rules! jemalloc_config {
    () => {
        $crate::jemalloc_config!("prof:true,prof_active:true,lg_prof_sample:19");
    };
    ($options:literal) => {
        const _: () = {
            /// A thin pointer to a text that ends in NUL, as C has it.
            type OptionsText = ::core::option::Option<&'static u8>;
            const OPTIONS: OptionsText = ::core::concat!($options, "\0").as_bytes().first();

            // SAFETY: jemalloc declares these as `const char *` with a weak definition of its own,
            // which is never written (jemalloc(3), TUNING). `Option<&u8>` is such a pointer.
            #[unsafe(export_name = "_rjem_malloc_conf")]
            #[used]
            static PREFIXED: OptionsText = OPTIONS;
            #[unsafe(export_name = "malloc_conf")]
            #[used]
            static UNPREFIXED: OptionsText = OPTIONS;
        };
    };
}
