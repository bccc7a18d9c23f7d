//! jemalloc.
