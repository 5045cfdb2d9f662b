//! Stories through the real stack, in process: a gateway on one side, a scripted ensemble on the other.

mod postgres;
mod publish;
mod readings_json;
