// A pool of threads that is made when first needed. One call at a time uses it; a call from another thread
// meanwhile, and a forked process before its own first call, find it busy or gone and do well without.
#include "thread_pool.h"

#include <atomic>
#include <pthread.h>
#include <signal.h>
#include <time.h>

int64_t now() {
    timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

namespace {

const int MOST = 256;
const int64_t SPIN = 50000;  // nanoseconds to wait awake: longer would take the processor from who is waited for

inline void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// A number that threads wait to see changed: awake at first, then asleep.
class Signal {
  public:
    uint32_t value() const { return value_.load(std::memory_order_acquire); }

    void change() {
        value_.fetch_add(1, std::memory_order_seq_cst);
        if (asleep_.load(std::memory_order_seq_cst)) {
            pthread_mutex_lock(&mutex_);
            pthread_cond_broadcast(&changed_);
            pthread_mutex_unlock(&mutex_);
        }
    }

    void wait_while(uint32_t old) {
        int64_t until = 0;
        for (int round = 1; value() == old; round++) {
            pause();
            if (round % 256) continue;
            if (!until) until = now() + SPIN;
            if (now() < until) continue;
            pthread_mutex_lock(&mutex_);
            asleep_.fetch_add(1, std::memory_order_seq_cst);
            while (value_.load(std::memory_order_seq_cst) == old) pthread_cond_wait(&changed_, &mutex_);
            asleep_.fetch_sub(1, std::memory_order_seq_cst);
            pthread_mutex_unlock(&mutex_);
        }
    }

  private:
    std::atomic<uint32_t> value_{0};
    std::atomic<int> asleep_{0};
    pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t changed_ = PTHREAD_COND_INITIALIZER;
};

class Meeting {
  public:
    void wait_for(int count) {
        const uint32_t round = met_.value();
        if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == count) {
            arrived_.store(0, std::memory_order_relaxed);
            met_.change();
        } else {
            met_.wait_while(round);
        }
    }

  private:
    std::atomic<int> arrived_{0};
    Signal met_;
};

struct Pool {
    int started = 1;  // threads there are, the caller's included: all of them wake up for every job
    int count = 1;    // of them at work
    void (*work)(Team &, void *) = nullptr;
    void *context = nullptr;
    Signal job;
    Meeting barrier, end;
    pthread_mutex_t busy = PTHREAD_MUTEX_INITIALIZER;
};

Pool *pool = nullptr;
pthread_once_t once = PTHREAD_ONCE_INIT;

void forget() { pool = new Pool; }  // a forked process has none of the threads

void make() {
    pool = new Pool;
    pthread_atfork(nullptr, nullptr, forget);
}

struct Worker {
    Pool *pool;
    int number;
    uint32_t seen;
};

void *live(void *argument) {
    const Worker me = *static_cast<Worker *>(argument);
    delete static_cast<Worker *>(argument);
    for (uint32_t seen = me.seen;;) {
        me.pool->job.wait_while(seen);
        seen = me.pool->job.value();
        if (me.number < me.pool->count) {
            Team team(me.number, me.pool->count);
            me.pool->work(team, me.pool->context);
        }
        me.pool->end.wait_for(me.pool->started);
    }
    return nullptr;
}

// As many threads as wanted, or as can be had. They leave signals to those of the program.
int start(int count) {
    sigset_t every, before;
    sigfillset(&every);
    pthread_sigmask(SIG_SETMASK, &every, &before);
    while (pool->started < count) {
        pthread_t thread;
        Worker *worker = new Worker{pool, pool->started, pool->job.value()};
        if (pthread_create(&thread, nullptr, live, worker)) {
            delete worker;
            break;
        }
        pthread_detach(thread);
        pool->started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return pool->started < count ? pool->started : count;
}

}  // namespace

void Team::barrier() {
    if (count > 1) pool->barrier.wait_for(count);
}

void run_in_team(int count, void (*work)(Team &, void *), void *context) {
    pthread_once(&once, make);
    Team alone(0, 1);
    if (count <= 1 || pthread_mutex_trylock(&pool->busy)) return work(alone, context);
    Pool *mine = pool;
    count = start(count < MOST ? count : MOST);
    if (count <= 1) {
        work(alone, context);
    } else {
        mine->count = count;
        mine->work = work;
        mine->context = context;
        mine->job.change();
        Team team(0, count);
        work(team, context);
        mine->end.wait_for(mine->started);
    }
    pthread_mutex_unlock(&mine->busy);
}
