//! All `unsafe` code of the project, behind safe functions that prove each precondition once.
#![allow(unsafe_code)]
