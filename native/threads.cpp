// Work on several threads. If PyTorch's OpenMP is in the process, its team is used (`fewbits_use_gomp`): a second set of
// threads would fight for the cores with OpenMP's, which go on spinning for a while after each of PyTorch's operators.
// Else, and in a forked process, whose copy of OpenMP waits for threads that it does not have, a small pool of our own.
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#include "fewbits.h"

namespace fewbits {
namespace {

using GompParallel = void (*)(void (*)(void*), void*, unsigned, unsigned);
std::atomic<GompParallel> gomp{nullptr};

struct Job {
    Work work;
    void* data;
    int64_t parts;
    std::atomic<int64_t> next{0};
    void run() {
        for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < parts;) work(data, i);
    }
};

class Pool {
public:
    // Run the job here and on up to `helpers` threads: on fewer if the system starts no more, alone if another thread is
    // using the pool.
    void run(Job& job, int helpers) {
        std::unique_lock<std::mutex> using_it(user_, std::try_to_lock);
        if (!using_it.owns_lock()) return job.run();
        grow(helpers);
        {
            std::lock_guard<std::mutex> lock(mutex_);
            job_ = &job, wanted_ = helpers, ++round_;
        }
        wake_.notify_all();
        job.run();
        std::unique_lock<std::mutex> lock(mutex_);
        wanted_ = 0;  // who has not begun by now finds nothing left to do
        done_.wait(lock, [this] { return busy_ == 0; });
        job_ = nullptr;
    }

private:
    void grow(int helpers) {
        try {
            while (int(threads_.size()) < helpers) threads_.emplace_back([this] { serve(); });
        } catch (const std::system_error&) {
        } catch (const std::bad_alloc&) {
        }
    }
    void serve() {
        std::unique_lock<std::mutex> lock(mutex_);
        for (uint64_t seen = 0;;) {
            wake_.wait(lock, [&] { return round_ != seen && wanted_ > 0; });
            seen = round_, --wanted_, ++busy_;
            Job* job = job_;
            lock.unlock();
            job->run();
            lock.lock();
            if (--busy_ == 0) done_.notify_one();
        }
    }
    std::mutex user_, mutex_;
    std::condition_variable wake_, done_;
    std::vector<std::thread> threads_;
    Job* job_ = nullptr;
    int wanted_ = 0, busy_ = 0;
    uint64_t round_ = 0;
};

// One pool a process. Never destroyed: its threads may outlive main's end, and are not there after a fork.
std::atomic<Pool*> current{nullptr};

Pool* pool() {
    Pool* there = current.load();
    if (there != nullptr) return there;
    Pool* made = new (std::nothrow) Pool;
    if (made == nullptr || current.compare_exchange_strong(there, made)) return made;
    delete made;  // another thread was faster
    return there;
}

void after_fork() { current = nullptr, gomp = nullptr; }
const int at_fork = pthread_atfork(nullptr, nullptr, after_fork);

// More threads than that are never used: they would only wait for each other.
int most_threads() {
    static const int most = std::max(64, 4 * int(std::thread::hardware_concurrency()));
    return most;
}

// How many of `wanted` threads this one can have. OpenMP ends the process if the system refuses to start one (a limit on
// processes or on memory), so before its team grows as many threads are started, and ended, here. Each thread has its own team.
int startable(int wanted) {
    thread_local int proven = 1;
    if (wanted <= proven) return wanted;
    std::mutex gate;
    std::vector<std::thread> tried;
    {
        std::lock_guard<std::mutex> closed(gate);  // so that all of them are there at once
        try {
            tried.reserve(size_t(wanted));
            while (int(tried.size()) + 1 < wanted) tried.emplace_back([&gate] { std::lock_guard<std::mutex> opened(gate); });
        } catch (const std::system_error&) {
        } catch (const std::bad_alloc&) {
        }
    }
    for (std::thread& one : tried) one.join();
    return proven = std::max(proven, int(tried.size()) + 1);
}

}  // namespace

void parallel(Work work, void* data, int64_t parts, int threads) {
    Job job{work, data, parts};
    threads = int(std::min<int64_t>(std::min(threads, most_threads()), parts));
    if (threads <= 1) return job.run();
    if (GompParallel team = gomp.load()) {
        threads = startable(threads);
        if (threads <= 1) return job.run();
        return team([](void* j) { static_cast<Job*>(j)->run(); }, &job, unsigned(threads), 0);
    }
    Pool* const own = pool();
    if (own == nullptr) return job.run();
    own->run(job, threads - 1);
}

}  // namespace fewbits

// The address of GOMP_parallel in this process, or null to use the pool.
FEWBITS_API void fewbits_use_gomp(void* function) {
    fewbits::gomp = reinterpret_cast<fewbits::GompParallel>(function);
}
