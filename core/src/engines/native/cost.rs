//! What an expression costs the API server, at most.
//!
//! The API server counts while it evaluates (cel-go, `interpreter/runtimecost.go`; Kubernetes, `pkg/cel/library/cost.go`) and denies what costs more than
//! [`EXPRESSION_LIMIT`] for one expression or variable, or [`POLICY_LIMIT`] for all of one binding. The figures here are bounds of what it counts: a step is
//! one, a pass over a text a tenth of its length, an expression a tenth of the text times a quarter of the expression, a look for digits in a list a tenth
//! of the list times seven.

/// The most one expression or variable may cost (`PerCallLimit`).
pub const EXPRESSION_LIMIT: u64 = 1_000_000;
/// The most all of a policy may cost for one binding (`RuntimeCELCostBudget`).
pub const POLICY_LIMIT: u64 = 10_000_000;

/// The pod that a cost is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pod {
    /// How many images it has.
    pub images: u64,
    /// How long each is.
    pub length: u64,
}

impl Pod {
    /// Fifty images, each as long as a reference may be.
    pub const WORST: Self = Self { images: 50, length: crate::image::MAX_REFERENCE as u64 };
}

/// What one image costs, as far as it depends on the image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    steps: u64,
    passes: u64,
    /// Quarters of regular expressions.
    quarters: u64,
    /// Comparisons with every image.
    lists: u64,
}

impl Cost {
    /// Steps whose cost does not depend on the image.
    pub const fn of_steps(steps: u64) -> Self {
        Self { steps, passes: 0, quarters: 0, lists: 0 }
    }

    /// Passes over the text.
    pub const fn of_passes(passes: u64) -> Self {
        Self { steps: 0, passes, quarters: 0, lists: 0 }
    }

    /// A regular expression over the text.
    pub const fn of_expression(expression: &str) -> Self {
        Self { steps: 2, passes: 0, quarters: (expression.len() as u64).div_ceil(4), lists: 0 }
    }

    /// A look into a list of all images.
    pub const fn of_list() -> Self {
        Self { steps: 0, passes: 0, quarters: 0, lists: 1 }
    }

    /// A look for 64 digits in a text of this length.
    pub const fn of_lookup(length: u64) -> Self {
        Self::of_steps(length.div_ceil(10) * 7 + 20)
    }

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            steps: self.steps + other.steps,
            passes: self.passes + other.passes,
            quarters: self.quarters + other.quarters,
            lists: self.lists + other.lists,
        }
    }

    /// Several times.
    #[must_use]
    pub const fn times(self, times: u64) -> Self {
        Self {
            steps: self.steps * times,
            passes: self.passes * times,
            quarters: self.quarters * times,
            lists: self.lists * times,
        }
    }

    /// What it comes to for all images of a pod.
    pub const fn for_pod(self, pod: Pod) -> u64 {
        let pass = (pod.length + 1).div_ceil(10);
        pod.images * (self.steps + self.passes * pass + self.quarters * pass + self.lists * pod.images)
    }
}

/// What the parts of one policy cost for one binding.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Costs {
    parts: Vec<Cost>,
}

impl Costs {
    /// What parts cost for one image each.
    pub fn new(parts: Vec<Cost>) -> Self {
        Self { parts }
    }

    /// The dearest part.
    pub fn dearest(&self, pod: Pod) -> u64 {
        self.parts.iter().map(|part| part.for_pod(pod)).max().unwrap_or_default()
    }

    /// All parts.
    pub fn total(&self, pod: Pod) -> u64 {
        self.parts.iter().map(|part| part.for_pod(pod)).sum()
    }

    /// Whether the API server evaluates it to the end.
    pub fn is_within_limits(&self, pod: Pod) -> bool {
        self.dearest(pod) <= EXPRESSION_LIMIT && self.total(pod) <= POLICY_LIMIT
    }

    /// How many images of this length a pod may have.
    pub fn most_images(&self, length: u64) -> u64 {
        let fits = |images: &u64| self.is_within_limits(Pod { images: *images, length });
        (1..=Pod::WORST.images).take_while(fits).last().unwrap_or_default()
    }
}
