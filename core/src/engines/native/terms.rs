//! Which images a policy is about, and which it exempts, as tests of an image's name.

use std::collections::BTreeSet;

use super::cost::{Cost, EXPRESSION_LIMIT, Pod};
use super::expressions::{Variable, text, texts, variable};
use crate::api::SigningIdentityPolicy;
use crate::image::spelling::NameTest;
use crate::image::{ImagePattern, ImageRef};

/// The images of one policy, or of several together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Terms {
    images: BTreeSet<NameTest>,
    exempt: BTreeSet<String>,
}

impl Terms {
    /// Of a declared policy; nothing where a pattern or an exempt image cannot be read, which compiling it would have said.
    pub(super) fn of(declared: &SigningIdentityPolicy) -> Option<Self> {
        let images = declared.spec.images.iter().map(|pattern| ImagePattern::parse(pattern).ok());
        let exempt = declared.spec.exempt_images.iter().map(|exempt| {
            let image = ImageRef::parse(&exempt.image).ok()?;
            Some(format!("{}@{}", image.name(), image.digest()?))
        });
        Some(Self {
            images: images.map(|pattern| pattern.map(|pattern| pattern.name_test())).collect::<Option<_>>()?,
            exempt: exempt.collect::<Option<_>>()?,
        })
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.images.extend(other.images.iter().cloned());
        self.exempt.extend(other.exempt.iter().cloned());
    }

    /// The expression that an entry `x` is exempt; none where nothing is.
    pub(super) fn exempts(&self) -> Option<String> {
        let list = || texts(self.exempt.iter().map(String::as_str));
        (!self.exempt.is_empty()).then(|| format!("(x.name + '@sha256:' + x.hex) in {}", list()))
    }

    /// What [`Self::exempts`] costs.
    pub(super) fn exempt_cost(&self) -> Cost {
        Cost::of_steps(20 + self.exempt.len() as u64).and(Cost::of_passes(3))
    }

    /// Variables `{name}0`, `{name}1`, …: the entries of `source` that some pattern matches, each variable by some of the patterns, so that none costs too
    /// much. Gives the expression of them all.
    pub(super) fn matched(&self, name: &str, source: &str) -> (Vec<Variable>, String) {
        let variables: Vec<Variable> = self
            .chunks()
            .iter()
            .enumerate()
            .map(|(at, (test, cost))| {
                variable(&format!("{name}{at}"), format!("variables.{source}.filter(x, {test})"), *cost)
            })
            .collect();
        let all: Vec<String> = variables.iter().map(|variable| format!("variables.{}", variable.name)).collect();
        (variables, all.join(" + "))
    }

    /// Variables `{name}0`, …: what no pattern matches. The last of them is what is left.
    pub(super) fn unmatched(&self, name: &str, source: &str) -> Vec<Variable> {
        let mut source = source.to_owned();
        let mut variables = Vec::new();
        for (at, (test, cost)) in self.chunks().iter().enumerate() {
            let name = format!("{name}{at}");
            variables.push(variable(&name, format!("variables.{source}.filter(x, !({test}))"), *cost));
            source = name;
        }
        variables
    }

    /// Tests of an entry `x`, each of which the API server can pay for in the worst pod, where one pattern alone allows it.
    fn chunks(&self) -> Vec<(String, Cost)> {
        let budget = EXPRESSION_LIMIT / Pod::WORST.images * 3 / 4;
        let one = |cost: Cost| cost.for_pod(Pod { images: 1, ..Pod::WORST });
        let mut chunks: Vec<Chunk<'_>> = Vec::new();
        for test in self.needed() {
            let cost = cost_of(test);
            if let Some(chunk) = chunks.last_mut().filter(|chunk| one(chunk.cost.and(cost)) <= budget) {
                chunk.take(test, cost);
            } else {
                let mut chunk = Chunk::default();
                chunk.take(test, cost);
                chunks.push(chunk);
            }
        }
        chunks.iter().map(|chunk| (chunk.test(), chunk.cost.and(Cost::of_steps(10)))).collect()
    }

    /// Without what is below something else that is listed.
    fn needed(&self) -> impl Iterator<Item = &NameTest> {
        let below: Vec<&str> = self
            .images
            .iter()
            .filter_map(|test| match test {
                NameTest::Below(prefix) => Some(prefix.as_str()),
                NameTest::Is(_) | NameTest::Matches(_) => None,
            })
            .collect();
        let covered = move |test: &NameTest| match test {
            NameTest::Is(name) | NameTest::Below(name) => {
                // A shorter prefix ends at a `/` of this one.
                name.trim_end_matches('/')
                    .match_indices('/')
                    .any(|(at, _)| name.get(..=at).is_some_and(|shorter| below.binary_search(&shorter).is_ok()))
            }
            NameTest::Matches(_) => false,
        };
        self.images.iter().filter(move |test| !covered(test))
    }
}

fn cost_of(test: &NameTest) -> Cost {
    match test {
        NameTest::Is(_) => Cost::of_steps(1),
        NameTest::Below(_) => Cost::of_steps(8).and(Cost::of_passes(1)),
        NameTest::Matches(expression) => Cost::of_steps(4).and(Cost::of_expression(expression)),
    }
}

#[derive(Default)]
struct Chunk<'a> {
    is: Vec<&'a str>,
    below: Vec<&'a str>,
    matches: Vec<&'a str>,
    cost: Cost,
}

impl<'a> Chunk<'a> {
    fn take(&mut self, test: &'a NameTest, cost: Cost) {
        match test {
            NameTest::Is(name) => self.is.push(name),
            NameTest::Below(prefix) => self.below.push(prefix),
            NameTest::Matches(expression) => self.matches.push(expression),
        }
        self.cost = self.cost.and(cost);
    }

    fn test(&self) -> String {
        let mut tests = Vec::new();
        match self.below.as_slice() {
            [] => {}
            [prefix] => tests.push(format!("x.name.startsWith({})", text(prefix))),
            several => {
                tests.push(format!("{}.exists(p, x.name.startsWith(p))", texts(several.iter().copied())));
            }
        }
        match self.is.as_slice() {
            [] => {}
            [name] => tests.push(format!("x.name == {}", text(name))),
            several => tests.push(format!("x.name in {}", texts(several.iter().copied()))),
        }
        tests.extend(self.matches.iter().map(|expression| format!("x.name.matches({})", text(expression))));
        tests.join(" || ")
    }
}
