//! The pool under every kind of bad job: full, stuck, panicking, too large, given up.
//!
//! No test sleeps: they wait for a channel, a counter or a deadline of the pool itself.

use std::sync::mpsc;

use super::*;

fn scheduler(settings: Settings) -> Scheduler {
    Scheduler::new(&settings, Arc::new(Metrics::new())).expect("threads")
}

fn one_thread() -> Settings {
    Settings { render_threads: 1, queue: 1, ..Settings::default() }
}

/// A job that holds its thread until the sender is dropped, and a receiver that hears when it has started.
fn blocker() -> (mpsc::Sender<()>, mpsc::Receiver<()>, impl FnOnce(Instant) + Send + 'static) {
    let (release, wait) = mpsc::channel::<()>();
    let (started, has_started) = mpsc::channel();
    let job = move |_deadline: Instant| {
        started.send(()).expect("test waits");
        let _released = wait.recv();
    };
    (release, has_started, job)
}

#[tokio::test]
async fn a_full_queue_refuses_and_a_panic_is_only_its_own() {
    let pool = scheduler(one_thread());
    let panicked = pool.run(1, |_| -> u8 { panic!("decoder bug") }).await;
    assert_eq!(panicked.expect_err("panics"), Error::Panicked);

    let (release, started, job) = blocker();
    let busy = tokio::spawn({
        let pool = pool.clone();
        async move { pool.run(1, job).await.is_ok() }
    });
    tokio::task::spawn_blocking(move || started.recv()).await.expect("joins").expect("starts");
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { pool.run(1, |_| 7).await.map(|done| done.value) }
    });
    while pool.shared.lock().queue.is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(pool.run(1, |_| ()).await.expect_err("full"), Error::Overloaded);
    drop(release);
    assert_eq!(waiting.await.expect("joins"), Ok(7));
    assert!(busy.await.expect("joins"));
}

#[tokio::test]
async fn a_stuck_job_is_abandoned_and_its_thread_replaced() {
    let pool = scheduler(Settings { render_timeout: Duration::from_millis(50), ..one_thread() });
    let (release, _started, job) = blocker();
    assert_eq!(pool.run(1, job).await.expect_err("stuck"), Error::Deadline);
    // The only thread is still stuck, and yet:
    assert_eq!(pool.run(1, |_| 7).await.map(|done| done.value), Ok(7));
    drop(release);
    while pool.shared.lock().surplus > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(pool.run(1, |_| 8).await.map(|done| done.value), Ok(8));
}

#[tokio::test]
async fn memory_is_a_budget_and_a_giant_runs_alone() {
    let pool = scheduler(Settings { render_threads: 2, decode_memory: 100, ..Settings::default() });
    let peak = Arc::new(Mutex::new((0_u32, 0_u32)));
    let jobs = (0..6).map(|at| {
        let (pool, peak) = (pool.clone(), Arc::clone(&peak));
        let cost = if at == 3 { 1000 } else { 60 };
        async move {
            pool.run(cost, move |_| {
                let mut now = peak.lock().expect("no panic");
                now.0 += 1;
                now.1 = now.1.max(now.0);
                drop(now);
                thread::yield_now();
                peak.lock().expect("no panic").0 -= 1;
            })
            .await
            .is_ok()
        }
    });
    assert!(futures_util::future::join_all(jobs).await.into_iter().all(|ok| ok));
    assert_eq!(peak.lock().expect("no panic").1, 1, "two jobs of 60 do not fit into 100");
    // The answer is told before the worker takes the job's memory off.
    while pool.shared.lock().memory > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_job_whose_turn_never_comes_never_starts() {
    let pool = scheduler(Settings { render_timeout: Duration::from_millis(50), ..one_thread() });
    let (release, started, job) = blocker();
    let stuck = tokio::spawn({
        let pool = pool.clone();
        async move { pool.run(1, job).await.map(|_| ()) }
    });
    tokio::task::spawn_blocking(move || started.recv()).await.expect("joins").expect("starts");
    let ran = Arc::new(AtomicBool::new(false));
    let claimed = Arc::new(AtomicBool::new(true));
    let seen = Arc::clone(&ran);
    // A job that its waiter has claimed back.
    let work = Box::new(move || seen.store(true, Ordering::SeqCst));
    pool.shared.submit(Job { cost: 1, claimed, work }).expect("room");
    drop(release);
    assert!(stuck.await.is_ok());
    assert_eq!(pool.run(1, |_| 7).await.map(|done| done.value), Ok(7));
    assert!(!ran.load(Ordering::SeqCst));
}
