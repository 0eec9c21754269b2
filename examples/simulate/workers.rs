//! Worlds side by side: each lives on one thread.

use std::sync::Mutex;

/// Does all of it on so many threads; the results in the order of the jobs.
pub(crate) fn run<J: Send, T: Send>(
    threads: usize,
    jobs: Vec<J>,
    work: impl Fn(J) -> T + Sync,
) -> Vec<T> {
    let count = jobs.len();
    let queue = Mutex::new(jobs.into_iter().enumerate());
    let results = Mutex::new((0..count).map(|_| None).collect::<Vec<Option<T>>>());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((number, job)) = { queue.lock().expect("no panic").next() } {
                    let result = work(job);
                    results.lock().expect("no panic")[number] = Some(result);
                }
            });
        }
    });
    let results = results.into_inner().expect("no panic");
    results.into_iter().map(|result| result.expect("each job was done")).collect()
}
