// Threads are started when they are first needed, as many as the system gives: no result depends on how many there are. One
// call at a time uses them: a call from another thread meanwhile runs on the caller's thread alone. A forked process has none
// of them and starts its own.
#include "thread_pool.h"

#include <atomic>
#include <new>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>

int64_t monotonic_ns() {
    timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

namespace {

const int MAX_THREADS = 256;
const int64_t SPIN_NS = 50000;  // busy waiting before sleeping: longer would keep the processor from the thread waited for

const int SPINS_TO_YIELD = 64;

inline void cpu_relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// A counter whose change threads wait for: spinning at first, then asleep.
class Event {
  public:
    uint32_t value() const { return value_.load(std::memory_order_acquire); }

    void notify() {
        value_.fetch_add(1, std::memory_order_seq_cst);
        if (sleeping_.load(std::memory_order_seq_cst)) {
            pthread_mutex_lock(&mutex_);
            pthread_cond_broadcast(&changed_);
            pthread_mutex_unlock(&mutex_);
        }
    }

    void wait_while(uint32_t old) {
        int64_t deadline = 0;
        for (int spin = 1; value() == old; spin++) {
            cpu_relax();
            if (spin % SPINS_TO_YIELD) continue;
            sched_yield();  // beside another program the thread waited for may have no processor but this one
            if (!deadline) deadline = monotonic_ns() + SPIN_NS;
            if (monotonic_ns() < deadline) continue;
            pthread_mutex_lock(&mutex_);
            sleeping_.fetch_add(1, std::memory_order_seq_cst);
            while (value_.load(std::memory_order_seq_cst) == old) pthread_cond_wait(&changed_, &mutex_);
            sleeping_.fetch_sub(1, std::memory_order_seq_cst);
            pthread_mutex_unlock(&mutex_);
        }
    }

  private:
    std::atomic<uint32_t> value_{0};
    std::atomic<int> sleeping_{0};
    pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t changed_ = PTHREAD_COND_INITIALIZER;
};

class Barrier {
  public:
    void wait_for(int count) {
        const uint32_t generation = complete_.value();
        if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == count) {
            arrived_.store(0, std::memory_order_relaxed);
            complete_.notify();
        } else {
            complete_.wait_while(generation);
        }
    }

  private:
    std::atomic<int> arrived_{0};
    Event complete_;
};

struct Worker {
    int rank;
    uint32_t seen;  // jobs before it started
};

struct Pool {
    int started = 1;  // threads that exist, the caller's included: every job wakes all of them
    int active = 1;   // threads that take part in the job
    void (*work)(ThreadTeam &, void *) = nullptr;
    void *context = nullptr;
    Event job;
    Barrier barrier, end;
    pthread_mutex_t in_use = PTHREAD_MUTEX_INITIALIZER;
    Worker workers[MAX_THREADS];  // by rank, for those that start
};

Pool pool;
pthread_once_t once = PTHREAD_ONCE_INIT;
bool survives_fork;

void reset_after_fork() { new (&pool) Pool; }

void prepare_for_fork() { survives_fork = !pthread_atfork(nullptr, nullptr, reset_after_fork); }

void *worker_main(void *argument) {
    const Worker me = *static_cast<Worker *>(argument);
    for (uint32_t seen = me.seen;;) {
        pool.job.wait_while(seen);
        seen = pool.job.value();
        if (me.rank < pool.active) {
            ThreadTeam team(me.rank, pool.active);
            pool.work(team, pool.context);
        }
        pool.end.wait_for(pool.started);
    }
    return nullptr;
}

// Start threads until there are `count`, or as many as the system gives. Signals are left to the program's own threads.
// Return how many can work.
int start_workers(int count) {
    sigset_t all, previous;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &previous);
    for (; pool.started < count; pool.started++) {
        pthread_t thread;
        Worker &worker = pool.workers[pool.started] = {pool.started, pool.job.value()};
        if (pthread_create(&thread, nullptr, worker_main, &worker)) break;
        pthread_detach(thread);
    }
    pthread_sigmask(SIG_SETMASK, &previous, nullptr);
    return pool.started < count ? pool.started : count;
}

}  // namespace

void ThreadTeam::barrier() {
    if (size > 1) pool.barrier.wait_for(size);
}

void run_on_pool(int count, void (*work)(ThreadTeam &, void *), void *context) {
    pthread_once(&once, prepare_for_fork);
    ThreadTeam caller_only(0, 1);
    if (count <= 1 || !survives_fork || pthread_mutex_trylock(&pool.in_use)) return work(caller_only, context);
    count = start_workers(count < MAX_THREADS ? count : MAX_THREADS);
    if (count <= 1) {
        work(caller_only, context);
    } else {
        pool.active = count;
        pool.work = work;
        pool.context = context;
        pool.job.notify();
        ThreadTeam team(0, count);
        work(team, context);
        pool.end.wait_for(pool.started);
    }
    pthread_mutex_unlock(&pool.in_use);
}
