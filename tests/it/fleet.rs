//! The fleet as a whole: what a customer asks for happens, and what breaks heals.

mod life;
