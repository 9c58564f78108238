//! A number from 1 to 100 for how good an image shall look.
//! That it is in range is known by its type.

use serde::{Deserialize, Serialize};

/// Visible quality, 1 to 100; the same number means about the same visible quality in every lossy format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Quality(u8);

impl Quality {
    /// What is taken when nobody says or knows better.
    pub const DEFAULT: Self = Self(75);

    /// `None` outside 1..=100.
    pub const fn new(value: u8) -> Option<Self> {
        if value >= 1 && value <= 100 { Some(Self(value)) } else { None }
    }

    /// The number itself, 1 to 100.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl From<Quality> for u8 {
    fn from(quality: Quality) -> Self {
        quality.0
    }
}

impl TryFrom<u8> for Quality {
    type Error = &'static str;

    fn try_from(value: u8) -> Result<Self, Self::Error> {
        Self::new(value).ok_or("a quality is 1 to 100")
    }
}
