//! The pool under every kind of bad job: full, stuck, panicking, too large, given up.
//!
//! No test sleeps: they wait for a channel, a counter or a deadline of the pool itself.

use std::sync::{Mutex, mpsc};

use super::*;

fn scheduler(settings: Settings) -> Scheduler {
    Scheduler::new(&settings, Arc::new(Metrics::new())).expect("threads")
}

const ANYONE: Whose = Whose { host: 7, deserted: None };

fn one_thread() -> Settings {
    Settings { render_threads: 1, queue: 1, ..Settings::default() }
}

/// A job that holds its thread until the sender is dropped, and a receiver that hears when it has started.
fn blocker() -> (mpsc::Sender<()>, mpsc::Receiver<()>, impl FnOnce() + Send + 'static) {
    let (release, wait) = mpsc::channel::<()>();
    let (started, has_started) = mpsc::channel();
    let job = move || {
        started.send(()).expect("test waits");
        let _released = wait.recv();
    };
    (release, has_started, job)
}

#[tokio::test]
async fn a_full_queue_refuses_and_a_panic_is_only_its_own() {
    let pool = scheduler(one_thread());
    let panicked = pool.run(&ANYONE, 1, pool.deadline(), || -> u8 { panic!("decoder bug") }).await;
    assert_eq!(panicked.expect_err("panics"), Error::Panicked);

    let (release, started, job) = blocker();
    let busy = tokio::spawn({
        let pool = pool.clone();
        async move { pool.run(&ANYONE, 1, pool.deadline(), job).await.is_ok() }
    });
    tokio::task::spawn_blocking(move || started.recv()).await.expect("joins").expect("starts");
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { pool.run(&ANYONE, 1, pool.deadline(), || 7).await.map(|done| done.value) }
    });
    while pool.shared.lock().asked.is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(pool.run(&ANYONE, 1, pool.deadline(), || ()).await.expect_err("full"), Error::Overloaded);
    drop(release);
    assert_eq!(waiting.await.expect("joins"), Ok(7));
    assert!(busy.await.expect("joins"));
}

#[tokio::test]
async fn a_stuck_job_is_abandoned_and_its_thread_replaced() {
    let pool = scheduler(Settings { render_timeout: Duration::from_millis(50), ..one_thread() });
    let (release, _started, job) = blocker();
    assert_eq!(pool.run(&ANYONE, 1, pool.deadline(), job).await.expect_err("stuck"), Error::Deadline);
    // The only thread is still stuck, and yet:
    assert_eq!(pool.run(&ANYONE, 1, pool.deadline(), || 7).await.map(|done| done.value), Ok(7));
    drop(release);
    while pool.shared.lock().surplus > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(pool.run(&ANYONE, 1, pool.deadline(), || 8).await.map(|done| done.value), Ok(8));
}

#[tokio::test]
async fn memory_is_a_budget_and_a_giant_runs_alone() {
    let pool = scheduler(Settings {
        render_threads: 2,
        decode_memory: 100,
        body_memory: 0,
        kept_memory: 0,
        ..Settings::default()
    });
    let peak = Arc::new(Mutex::new((0_u32, 0_u32)));
    let jobs = (0..6).map(|at| {
        let (pool, peak) = (pool.clone(), Arc::clone(&peak));
        let cost = if at == 3 { 1000 } else { 60 };
        async move {
            pool.run(&ANYONE, cost, pool.deadline(), move || {
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
        async move { pool.run(&ANYONE, 1, pool.deadline(), job).await.map(|_| ()) }
    });
    tokio::task::spawn_blocking(move || started.recv()).await.expect("joins").expect("starts");
    let ran = Arc::new(AtomicBool::new(false));
    let claimed = Arc::new(AtomicBool::new(true));
    let seen = Arc::clone(&ran);
    // A job that its waiter has claimed back.
    let work = Box::new(move |_held| seen.store(true, Ordering::SeqCst));
    pool.shared
        .submit(Lane::Asked, Job { cost: 1, host: 0, asked: true, leads: false, claimed, deserted: None, work })
        .expect("room");
    drop(release);
    assert!(stuck.await.is_ok());
    assert_eq!(pool.run(&ANYONE, 1, pool.deadline(), || 7).await.map(|done| done.value), Ok(7));
    assert!(!ran.load(Ordering::SeqCst));
}

#[tokio::test]
async fn what_was_begun_goes_first_the_heaviest_before_the_lighter() {
    let pool = scheduler(Settings { queue: 10, ..one_thread() });
    let (release, started, job) = blocker();
    let order = Arc::new(Mutex::new(Vec::new()));
    let note = |name: &'static str| {
        let order = Arc::clone(&order);
        move || order.lock().expect("no panic").push(name)
    };
    let deadline = pool.deadline();
    let (first, asked, light, heavy) = (note("first"), note("asked"), note("light"), note("heavy"));
    let busy = pool.run(&ANYONE, 1, deadline, move || {
        job();
        first();
    });
    let rest = async {
        while started.try_recv().is_err() {
            tokio::task::yield_now().await;
        }
        let asked = pool.run(&ANYONE, 1, deadline, asked);
        let (light, heavy) = (pool.finish(1, 1, deadline, light), pool.finish(2, 1, deadline, heavy));
        let behind = pool.run_behind(1, {
            let behind = note("behind");
            move |_| behind()
        });
        let release = async {
            while pool.shared.waiting() < 3 || pool.shared.lock().behind.is_empty() {
                tokio::task::yield_now().await;
            }
            drop(release);
        };
        tokio::join!(asked, light, heavy, behind, release)
    };
    let (busy, (asked, light, heavy, behind, ())) = tokio::join!(busy, rest);
    assert!(busy.is_ok() && asked.is_ok() && light.is_ok() && heavy.is_ok() && behind.is_ok());
    assert_eq!(*order.lock().expect("no panic"), ["first", "heavy", "light", "asked", "behind"]);
}

#[tokio::test]
async fn memory_that_is_kept_holds_new_work_back_and_not_the_end_of_the_old() {
    let pool = scheduler(Settings { decode_memory: 100, body_memory: 0, kept_memory: 0, queue: 10, ..one_thread() });
    let deadline = pool.deadline();
    let mut held = pool.begin(&ANYONE, 90, deadline, |held| held).await.expect("runs").value;
    held.shrink_to(70);
    assert_eq!(pool.shared.lock().memory, 70);
    let next = pool.run(&ANYONE, 60, deadline, || 7);
    let end = async {
        while pool.shared.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        // Larger than what is free: it must run all the same, because only its end frees anything.
        let held = pool.finish(1, 50, deadline, move || held).await.expect("runs").value;
        assert_eq!(pool.shared.waiting(), 1, "there is no room for the new");
        drop(held);
    };
    let (next, ()) = tokio::join!(next, end);
    assert_eq!(next.map(|done| done.value), Ok(7));
}

#[tokio::test]
async fn work_that_is_given_up_gives_back_what_it_holds() {
    let pool = scheduler(Settings { queue: 1, ..one_thread() });
    let held = pool.begin(&ANYONE, 10, pool.deadline(), |held| held).await.expect("runs").value;
    let (release, started, job) = blocker();
    let busy = pool.run(&ANYONE, 1, pool.deadline(), job);
    let given_up = async {
        while started.try_recv().is_err() {
            tokio::task::yield_now().await;
        }
        let soon = Instant::now() + Duration::from_millis(20);
        let late = pool.finish(1, 1, soon, move || drop(held)).await;
        assert_eq!(late.map(|done| done.value), Err(Error::Overloaded));
        drop(release);
    };
    let (busy, ()) = tokio::join!(busy, given_up);
    assert!(busy.is_ok());
    while pool.shared.lock().memory > 0 {
        tokio::task::yield_now().await;
    }
}
