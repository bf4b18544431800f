// The pool is created when it is first needed. One call at a time uses it: a call from another thread meanwhile runs on
// the caller's thread alone. A forked process has none of the threads and starts its own.
#include "thread_pool.h"

#include <atomic>
#include <pthread.h>
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
            if (spin % 256) continue;
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

struct Pool {
    int started = 1;  // threads that exist, the caller's included: every job wakes all of them
    int active = 1;   // threads that take part in the job
    void (*work)(ThreadTeam &, void *) = nullptr;
    void *context = nullptr;
    Event job;
    Barrier barrier, end;
    pthread_mutex_t in_use = PTHREAD_MUTEX_INITIALIZER;
};

Pool *pool = nullptr;
pthread_once_t once = PTHREAD_ONCE_INIT;

void reset_after_fork() { pool = new Pool; }

void create_pool() {
    pool = new Pool;
    pthread_atfork(nullptr, nullptr, reset_after_fork);
}

struct Worker {
    Pool *pool;
    int rank;
    uint32_t seen;
};

void *worker_main(void *argument) {
    const Worker me = *static_cast<Worker *>(argument);
    delete static_cast<Worker *>(argument);
    for (uint32_t seen = me.seen;;) {
        me.pool->job.wait_while(seen);
        seen = me.pool->job.value();
        if (me.rank < me.pool->active) {
            ThreadTeam team(me.rank, me.pool->active);
            me.pool->work(team, me.pool->context);
        }
        me.pool->end.wait_for(me.pool->started);
    }
    return nullptr;
}

// Start threads until there are `count`, or as many as the system gives. Signals are left to the program's own threads.
// Return how many can work.
int start_workers(int count) {
    sigset_t all, previous;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &previous);
    while (pool->started < count) {
        pthread_t thread;
        Worker *worker = new Worker{pool, pool->started, pool->job.value()};
        if (pthread_create(&thread, nullptr, worker_main, worker)) {
            delete worker;
            break;
        }
        pthread_detach(thread);
        pool->started++;
    }
    pthread_sigmask(SIG_SETMASK, &previous, nullptr);
    return pool->started < count ? pool->started : count;
}

}  // namespace

void ThreadTeam::barrier() {
    if (size > 1) pool->barrier.wait_for(size);
}

void run_on_pool(int count, void (*work)(ThreadTeam &, void *), void *context) {
    pthread_once(&once, create_pool);
    ThreadTeam caller_only(0, 1);
    if (count <= 1 || pthread_mutex_trylock(&pool->in_use)) return work(caller_only, context);
    Pool *current = pool;
    count = start_workers(count < MAX_THREADS ? count : MAX_THREADS);
    if (count <= 1) {
        work(caller_only, context);
    } else {
        current->active = count;
        current->work = work;
        current->context = context;
        current->job.notify();
        ThreadTeam team(0, count);
        work(team, context);
        current->end.wait_for(current->started);
    }
    pthread_mutex_unlock(&current->in_use);
}
