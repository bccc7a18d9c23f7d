//! Parts that tests share: servers and clients, a judge, work, and a process of their own.

pub(crate) mod burn;
pub(crate) mod fakes;
pub(crate) mod go;
pub(crate) mod http;
pub(crate) mod own_process;
pub(crate) mod server;
