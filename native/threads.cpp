// Work on several threads. Where PyTorch's OpenMP is in the process, its own team is used (`fewbits_use_gomp`): a second
// set of threads would fight for the cores with OpenMP's, which go on spinning for a while after each of PyTorch's operators.
// Else a small pool of our own.
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
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
    // Run the job here and on up to `helpers` threads. Alone if another thread is using the pool.
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
        while (int(threads_.size()) < helpers) threads_.emplace_back([this] { serve(); });
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

// One pool a process: after a fork its threads are not there. Never destroyed: its threads may outlive main's end.
Pool& pool() {
    static std::mutex mutex;
    static Pool* current = nullptr;
    static pid_t owner = 0;
    std::lock_guard<std::mutex> lock(mutex);
    if (owner != getpid()) current = new Pool, owner = getpid();
    return *current;
}

}  // namespace

void parallel(Work work, void* data, int64_t parts, int threads) {
    Job job{work, data, parts};
    if (threads > parts) threads = int(parts);
    if (threads <= 1) return job.run();
    if (GompParallel team = gomp.load()) return team([](void* j) { static_cast<Job*>(j)->run(); }, &job, unsigned(threads), 0);
    pool().run(job, threads - 1);
}

}  // namespace fewbits

// The address of GOMP_parallel in this process, or null to use the pool.
FEWBITS_API void fewbits_use_gomp(void* function) {
    fewbits::gomp = reinterpret_cast<fewbits::GompParallel>(function);
}
