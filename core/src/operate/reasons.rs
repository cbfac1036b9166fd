//! The shape of the reasons that conditions give: a closed set for each kind, each with what it means, whose it is and what to do.

/// An enum of reasons: its texts are the one source of what status, `explain` and the documentation say.
macro_rules! reasons {
    ($(#[$about:meta])* $reasons:ident { $($name:ident => $owner:ident, $meaning:literal, $cure:literal;)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $reasons {
            $(#[doc = $meaning] $name,)+
        }

        impl $reasons {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The name as written in status, events and metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// What it means, in a sentence without an end.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)+ }
            }

            /// Who can mend it.
            pub const fn owner(self) -> $crate::verify::Owner {
                match self { $(Self::$name => $crate::verify::Owner::$owner,)+ }
            }

            /// What to do about it.
            pub const fn cure(self) -> &'static str {
                match self { $(Self::$name => $cure,)+ }
            }
        }

        impl std::fmt::Display for $reasons {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

pub(super) use reasons;
