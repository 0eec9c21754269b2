//! What is asked, how it is answered and drawn.

use std::{
    error::Error,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    eclipse::{self, Attack, Taken},
    growth::{self, Growth, Row, Shape},
    partition,
    plot::{Plot, Series},
    poison, siege, silent, soak, workers,
    world::{MINUTE, Rules},
};

type Done = Result<(), Box<dyn Error>>;

/// Worlds of which the middle one counts.
const WORLDS: u64 = 5;

/// How everything is asked.
pub(crate) struct Study {
    pub(crate) out: Option<PathBuf>,
    pub(crate) seed: u64,
    pub(crate) threads: usize,
    /// In per cent of what it should be.
    pub(crate) scale: usize,
}

impl Study {
    fn of(&self, number: usize) -> usize {
        (number * self.scale / 100).max(10)
    }

    fn draw(&self, name: &str, draw: impl FnOnce(&Path) -> Done) -> Done {
        let Some(out) = &self.out else { return Ok(()) };
        let file = out.join(name).with_extension("svg");
        draw(&file)?;
        println!("drawn: {}", file.display());
        Ok(())
    }

    /// How a network comes to be.
    pub(crate) fn growth(&self) -> Done {
        let shape = Shape {
            nodes: self.of(10_000),
            seeds: 2,
            time: 60 * MINUTE,
            arrival: 10 * MINUTE,
            life: 120 * MINUTE,
            hidden: 40,
        };
        // One after the other: each takes gigabytes.
        let grown = Rules::BOTH.map(|rules| {
            let begun = Instant::now();
            let grown = growth::run(rules, shape, self.seed);
            println!(
                "growth: {} nodes, {} min, {}: {:.0} s, {:.0} MiB; first peer after {} (99 %: {}), 10 \
                 outbound after {} (99 %: {}); at the end {:.2} outbound in {:.2} networks; {} sessions \
                 of the seeds a minute",
                shape.nodes,
                shape.time.as_secs() / 60,
                rules.name(),
                begun.elapsed().as_secs_f64(),
                grown.memory,
                time_of(&grown.first, 0.5, shape.nodes),
                time_of(&grown.first, 0.99, shape.nodes),
                time_of(&grown.full, 0.5, shape.nodes),
                time_of(&grown.full, 0.99, shape.nodes),
                grown.rows.last().map_or(0.0, |row| row.outbound),
                grown.rows.last().map_or(0.0, |row| row.groups),
                grown.rows.last().map_or(0.0, |row| row.seed_sessions),
            );
            (rules, grown)
        });
        let by_minute = |what: &'static str, of: fn(&Row) -> f64| {
            grown.iter().map(move |(rules, grown): &(Rules, Growth)| Series {
                name: format!("{what}{}", rules.name()),
                points: grown.rows.iter().map(|row| (row.minute, of(row))).collect(),
            })
        };
        let sooner = |what: &'static str, of: fn(&Growth) -> &[f64]| {
            grown.iter().map(move |(rules, grown)| Series {
                name: format!("{what}, {}", rules.name()),
                points: distribution(of(grown), shape.nodes),
            })
        };
        self.draw("connected", |file| {
            Plot {
                title: "Time from a node's start to its peers",
                x: "seconds",
                y: "% of nodes",
                series: sooner("first peer", |grown| &grown.first)
                    .chain(sooner("10 outbound peers", |grown| &grown.full))
                    .collect(),
            }
            .lines(file)
        })?;
        self.draw("degree", |file| {
            Plot {
                title: "Outbound peers of a node, and in how many networks (/16) they are",
                x: "minutes",
                y: "on average",
                series: by_minute("peers, ", |row| row.outbound)
                    .chain(by_minute("networks, ", |row| row.groups))
                    .collect(),
            }
            .lines(file)
        })?;
        self.draw("seeds", |file| {
            Plot {
                title: "Sessions of both seeds, dialed and accepted",
                x: "minutes",
                y: "a minute",
                series: by_minute("", |row| row.seed_sessions).collect(),
            }
            .lines(file)
        })
    }

    /// How two halves find together again.
    pub(crate) fn partition(&self) -> Done {
        let shape = partition::Shape {
            nodes: self.of(500),
            parted: 30 * MINUTE,
            healed: 90 * MINUTE,
            life: 120 * MINUTE,
        };
        let healings = workers::run(self.threads, Rules::BOTH.to_vec(), |rules| {
            (rules, partition::run(rules, shape, self.seed))
        });
        for (rules, healing) in &healings {
            let share = |minute: f64| {
                let at = healing.across.iter().find(|(at, _)| *at >= minute);
                at.map_or(0.0, |(_, share)| share * 100.0)
            };
            println!(
                "partition: {} nodes, {}: {:.1} % of all outbound sessions lead into the other half after 29 \
                 minutes, {:.1} % half an hour after they see each other again, {:.1} % after 89 min; one network {}",
                shape.nodes,
                rules.name(),
                share(29.0),
                share(60.0),
                share(119.0),
                healing.whole_after.map_or("never".to_owned(), |time| {
                    format!("{:.0} s after they see each other", time.as_secs_f64())
                }),
            );
        }
        self.draw("partition", |file| {
            let series = healings.iter().map(|(rules, healing)| Series {
                name: rules.name().to_owned(),
                points: healing.across.iter().map(|(at, share)| (*at, share * 100.0)).collect(),
            });
            Plot {
                title: "Two halves that do not see each other in the first 30 minutes",
                x: "minutes",
                y: "% of outbound sessions into the other half",
                series: series.collect(),
            }
            .lines(file)
        })
    }

    /// What share of a node's peers an attacker gets.
    pub(crate) fn eclipse(&self) -> Done {
        let honest = self.of(200);
        let mut jobs = Vec::new();
        for rules in Rules::BOTH {
            for is_in_one_network in [true, false] {
                for share in [1, 5, 20] {
                    let attack = Attack { honest, share, is_in_one_network, minutes: 60 };
                    jobs.extend((0..WORLDS).map(|world| (rules, attack, self.seed + world)));
                }
            }
        }
        let taken = workers::run(self.threads, jobs, |(rules, attack, seed)| {
            (rules, attack, eclipse::run(rules, attack, seed))
        });
        let groups: Vec<_> = taken.chunks(WORLDS as usize).collect();
        let mut series: Vec<Series> = Vec::new();
        for group in &groups {
            let (rules, attack, _) = group[0];
            let of = |part: fn(&(Taken, Taken)) -> f64| {
                middle(group.iter().map(|(.., taken)| part(taken) * 100.0).collect())
            };
            let (before, after) = (of(|taken| taken.0.share), of(|taken| taken.1.share));
            let most = group.iter().map(|(.., taken)| (taken.0.most, taken.1.most));
            let most = most.fold((0, 0), |a, b| (a.0.max(b.0), a.1.max(b.1)));
            let place = if attack.is_in_one_network { "one /16" } else { "many /16" };
            println!(
                "eclipse: {honest} nodes, attacker with {} % of all addresses in {place}, {}: {before:.1} % of \
                 outbound peers are its, {after:.1} % after a restart; {} of one node at most, {} after it",
                attack.share,
                rules.name(),
                most.0,
                most.1,
            );
            for (when, value) in [("", before), (", after a restart", after)] {
                let name = format!("{place}, {}{when}", rules.name());
                let place = series.iter_mut().find(|series| series.name == name);
                let x = match attack.share {
                    1 => 0.0,
                    5 => 1.0,
                    _ => 2.0,
                };
                match place {
                    Some(series) => series.points.push((x, value)),
                    None => series.push(Series { name, points: vec![(x, value)] }),
                }
            }
        }
        for (file, place) in
            [("eclipse_one_network", "one /16"), ("eclipse_many_networks", "many /16")]
        {
            let (these, others) =
                series.into_iter().partition(|series| series.name.starts_with(place));
            series = others;
            self.draw(file, |file| {
                let title =
                    format!("Outbound peers that are an attacker's, who has addresses in {place}");
                let names = ["1 %", "5 %", "20 %"].map(String::from);
                let (x, y) = ("of all addresses are the attacker's", "% of outbound peers");
                Plot { title: &title, x, y, series: these }.bars(file, &names)
            })?;
        }
        Ok(())
    }

    /// What it costs to keep somebody out of a full node.
    pub(crate) fn siege(&self) -> Done {
        let networks = [1, 4, 16, 40, 80];
        let limit = 60 * MINUTE;
        self.times(
            "siege",
            "Until somebody new is let in by a node that 80 nodes of an attacker besiege (60: not at all)",
            "networks (/24) of the attacker",
            &networks,
            limit,
            siege::run,
        )
    }

    /// What it costs to keep somebody out of a node that has places, with nothing but handshakes.
    pub(crate) fn silent(&self) -> Done {
        self.times(
            "silent",
            "Until somebody is let in by a node with 1000 connections that authenticate only (20: not at all)",
            "networks (/24) of the attacker, each in another /16",
            &[1, 1000],
            20 * MINUTE,
            silent::run,
        )
    }

    /// What a book full of the dead costs.
    pub(crate) fn poison(&self) -> Done {
        self.times(
            "poison",
            "Until a node has 8 outbound peers whose book of 1000 is poisoned (60: not at all)",
            "addresses of the book at which nobody is",
            &[800, 900, 990, 1000],
            60 * MINUTE,
            poison::run,
        )
    }

    fn times(
        &self,
        name: &str,
        title: &str,
        x: &str,
        values: &[usize],
        limit: Duration,
        run: fn(Rules, usize, Duration, u64) -> Option<Duration>,
    ) -> Done {
        println!("{name} begins, which may take minutes");
        let mut jobs = Vec::new();
        for rules in Rules::BOTH {
            for value in values {
                jobs.extend((0..WORLDS).map(|world| (rules, *value, self.seed + world)));
            }
        }
        let times = workers::run(self.threads, jobs, |(rules, value, seed)| {
            (rules, value, run(rules, value, limit, seed))
        });
        let mut series: Vec<Series> = Vec::new();
        for group in times.chunks(WORLDS as usize) {
            let (rules, value, _) = group[0];
            let minutes = |time: &Option<Duration>| time.unwrap_or(limit).as_secs_f64() / 60.0;
            let time = middle(group.iter().map(|(.., time)| minutes(time)).collect());
            let in_vain = group.iter().filter(|(.., time)| time.is_none()).count();
            let limit = limit.as_secs() / 60;
            let took = match in_vain {
                0 => format!("{time:.1} min"),
                _ if in_vain == group.len() => format!("not within {limit} min"),
                _ => {
                    format!("{time:.1} min, in {in_vain} of {WORLDS} worlds not within {limit} min")
                }
            };
            println!("{name}: {value} {x}, {}: {took}", rules.name());
            let at = values.iter().position(|other| *other == value).unwrap_or_default() as f64;
            match series.iter_mut().find(|series| series.name == rules.name()) {
                Some(series) => series.points.push((at, time)),
                None => {
                    series.push(Series { name: rules.name().to_owned(), points: vec![(at, time)] })
                }
            }
        }
        self.draw(name, |file| {
            let names: Vec<_> = values.iter().map(usize::to_string).collect();
            Plot { title, x, y: "minutes", series }.bars(file, &names)
        })
    }

    /// A seed for a day.
    pub(crate) fn soak(&self) -> Done {
        let folder = tempfile::tempdir()?;
        let database = folder.path().join("addrbook.sqlite");
        let (nodes, time) = (self.of(5000), 24 * 60 * MINUTE);
        let rows = soak::run(nodes, time, 30 * MINUTE, self.seed, &database, |row| {
            println!(
                "soak: {nodes} nodes, {:.2} h: {} addresses, {} sockets, database {:.2} MiB, log {:.2} MiB, all \
                 nodes {:.0} MiB, {} sessions",
                row.hour,
                row.addresses,
                row.sockets,
                row.database,
                row.log,
                row.memory,
                row.sessions
            );
        });
        let series = |name: &str, of: fn(&soak::Row) -> f64| Series {
            name: name.to_owned(),
            points: rows.iter().map(|row| (row.hour, of(row))).collect(),
        };
        self.draw("soak", |file| {
            Plot {
                title: &format!("A seed for a day, with {nodes} nodes that come and go"),
                x: "hours",
                y: "see the legend",
                series: vec![
                    series("addresses of the book / 100", |row| row.addresses / 100.0),
                    series("open sockets", |row| row.sockets),
                    series("MiB of the database", |row| row.database),
                    series("MiB of its log", |row| row.log),
                    series("MiB of all nodes together / 100", |row| row.memory / 100.0),
                ],
            }
            .lines(file)
        })
    }
}

/// How many per cent had come by then.
fn distribution(times: &[f64], of: usize) -> Vec<(f64, f64)> {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    let part = |number: usize| (number + 1) as f64 * 100.0 / of as f64;
    let step = (times.len() / 400).max(1);
    let points = times.iter().enumerate().step_by(step);
    // Beyond two minutes nothing can be told apart from the end.
    let points = points.map(|(number, time)| (*time, part(number)));
    std::iter::once((0.0, 0.0)).chain(points.take_while(|(time, _)| *time <= 120.0)).collect()
}

/// When so many of all were so far.
fn time_of(times: &[f64], part: f64, all: usize) -> String {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    let time = times.get((all as f64 * part) as usize);
    time.map_or("never".to_owned(), |time| format!("{time:.0} s"))
}

fn quantile(values: &[f64], part: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get((values.len() as f64 * part) as usize).copied().unwrap_or_default()
}

fn middle(values: Vec<f64>) -> f64 {
    quantile(&values, 0.5)
}
