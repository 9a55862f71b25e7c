//! The page as its readers get it: parsed as a browser does.
#![cfg(test)]

mod html;
mod logs;
mod page;
mod support;
