//! Which images a policy is about, and which it exempts, as tests of an image's name.

use std::collections::BTreeSet;

use super::cost::{Cost, EXPRESSION_LIMIT, Pod};
use super::expressions::{Variable, text, texts, variable};
use super::length::{fits_one_expression, in_list, lists};
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

    pub(super) fn add(&mut self, other: Self) {
        self.images.extend(other.images);
        self.exempt.extend(other.exempt);
    }

    /// What others do not have.
    pub(super) fn without(&self, others: &Self) -> Self {
        Self { images: &self.images - &others.images, exempt: &self.exempt - &others.exempt }
    }

    /// How much text its tests take in expressions.
    pub(super) fn length(&self) -> usize {
        let exempt = self.exempt.iter().map(|exempt| in_list(exempt));
        self.images.iter().map(length).chain(exempt).sum()
    }

    /// Variables of which the last is `name`: what is not exempt of the list `source`.
    pub(super) fn unexempt(&self, name: &str, source: &str) -> Vec<Variable> {
        let looked = |listed: usize| Cost::of_steps(20 + listed as u64).and(Cost::of_passes(3));
        let lists = lists(self.exempt.iter().map(String::as_str));
        if lists.is_empty() {
            return vec![variable(name, source.to_owned(), looked(0))];
        }
        let last = lists.len() - 1;
        let mut source = source.to_owned();
        let mut variables = Vec::new();
        for (at, list) in lists.iter().enumerate() {
            let name = if at == last { name.to_owned() } else { format!("{name}{at}") };
            let exempt = format!("(x.name + '@sha256:' + x.hex) in {}", texts(list.iter().copied()));
            variables.push(variable(&name, format!("{source}.filter(x, !({exempt}))"), looked(list.len())));
            source = format!("variables.{name}");
        }
        variables
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

    /// Tests of an entry `x`, each of which the API server reads, and can pay for in the worst pod, where one pattern alone allows it.
    fn chunks(&self) -> Vec<(String, Cost)> {
        let budget = EXPRESSION_LIMIT / Pod::WORST.images * 3 / 4;
        let fits = |costs: &ChunkCosts| {
            fits_one_expression(costs.length) && costs.cost().for_pod(Pod { images: 1, ..Pod::WORST }) <= budget
        };
        let mut chunks: Vec<Chunk<'_>> = Vec::new();
        for test in self.needed() {
            let mut chunk = match chunks.pop() {
                Some(chunk) if fits(&chunk.with(test)) => chunk,
                full => {
                    chunks.extend(full);
                    Chunk::default()
                }
            };
            let costs = chunk.with(test);
            chunk.take(test, costs);
            chunks.push(chunk);
        }
        chunks.iter().map(|chunk| (chunk.test(), chunk.costs.cost().and(Cost::of_steps(10)))).collect()
    }

    /// Without what is below something else that is listed.
    fn needed(&self) -> impl Iterator<Item = &NameTest> {
        let below: Vec<&str> = self
            .images
            .iter()
            .filter_map(|test| match test {
                NameTest::Below(prefix) => Some(prefix.as_str()),
                NameTest::Is(_) | NameTest::Matches { .. } => None,
            })
            .collect();
        let covered = move |test: &NameTest| {
            let begins = match test {
                NameTest::Is(name) => name,
                NameTest::Below(prefix) => prefix.trim_end_matches('/'),
                NameTest::Matches { begins, .. } => begins,
            };
            begins
                .match_indices('/')
                .any(|(at, _)| begins.get(..=at).is_some_and(|shorter| below.binary_search(&shorter).is_ok()))
        };
        self.images.iter().filter(move |test| !covered(test))
    }
}

/// Some tests, in their order.
#[derive(Default)]
struct Chunk<'a> {
    is: Vec<&'a str>,
    below: Vec<&'a str>,
    matches: Vec<(&'a str, &'a str)>,
    costs: ChunkCosts,
    /// The beginnings that the last expression's own begins with, each with what all expressions up to it cost.
    begun: Vec<(&'a str, Cost)>,
}

/// How much text a test takes in an expression, at most.
fn length(test: &NameTest) -> usize {
    match test {
        NameTest::Is(name) | NameTest::Below(name) => in_list(name),
        NameTest::Matches { begins, expression } => {
            in_list(begins) + in_list(expression) + "(x.name.startsWith() && x.name.matches()) || ".len()
        }
    }
}

/// What every name costs, and what the names cost that begin with what most expressions do; and how much text there is.
#[derive(Debug, Clone, Copy, Default)]
struct ChunkCosts {
    length: usize,
    every: Cost,
    expressions: Cost,
    last: Cost,
}

impl ChunkCosts {
    const fn cost(self) -> Cost {
        self.every.and(self.expressions)
    }
}

impl<'a> Chunk<'a> {
    /// What the chunk costs with one more test. An expression is evaluated only over names that begin as it does: tests come in the order of that, so those
    /// that one name can meet all stand on the way from the last one to its beginnings.
    fn with(&self, test: &NameTest) -> ChunkCosts {
        let prefix = Cost::of_steps(8).and(Cost::of_passes(1));
        let costs = ChunkCosts { length: self.costs.length + length(test), ..self.costs };
        match test {
            NameTest::Is(_) => ChunkCosts { every: costs.every.and(Cost::of_steps(1)), ..costs },
            NameTest::Below(_) => ChunkCosts { every: costs.every.and(prefix), ..costs },
            NameTest::Matches { begins, expression } => {
                let before = self.begun.iter().rev().find(|(other, _)| begins.starts_with(other));
                let last = before.map(|(_, cost)| *cost).unwrap_or_default().and(Cost::of_expression(expression));
                let worst = |cost: Cost| cost.for_pod(Pod::WORST);
                let expressions = if worst(last) > worst(costs.expressions) { last } else { costs.expressions };
                ChunkCosts { every: costs.every.and(prefix), expressions, last, ..costs }
            }
        }
    }

    fn take(&mut self, test: &'a NameTest, with: ChunkCosts) {
        match test {
            NameTest::Is(name) => self.is.push(name),
            NameTest::Below(prefix) => self.below.push(prefix),
            NameTest::Matches { begins, expression } => {
                self.matches.push((begins, expression));
                self.begun.retain(|(other, _)| begins.starts_with(other));
                self.begun.push((begins, with.last));
            }
        }
        self.costs = with;
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
        tests.extend(self.matches.iter().map(|(begins, expression)| {
            format!("(x.name.startsWith({}) && x.name.matches({}))", text(begins), text(expression))
        }));
        tests.join(" || ")
    }
}
