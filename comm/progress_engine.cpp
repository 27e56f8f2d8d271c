#include "comm/progress_engine.h"

#include <pthread.h>
#include <sys/prctl.h>

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <utility>

#include "comm/backoff.h"
#include "comm/control.h"

namespace thinwire::comm {

struct Ticket::Shared {
  mutable std::mutex mutex;
  mutable std::condition_variable finished;
  bool done = false;         // guarded by mutex
  std::exception_ptr error;  // guarded by mutex

  void finish(std::exception_ptr why) {
    const std::scoped_lock lock(mutex);
    done = true;
    error = std::move(why);
    finished.notify_all();
  }
};

bool Ticket::done() const {
  if (!shared_) throw std::logic_error("a default ticket stands for no operation");
  const std::scoped_lock lock(shared_->mutex);
  return shared_->done;
}

void Ticket::wait() const {
  if (!shared_) throw std::logic_error("a default ticket stands for no operation");
  std::unique_lock lock(shared_->mutex);
  shared_->finished.wait(lock, [&] { return shared_->done; });
  if (shared_->error) std::rethrow_exception(shared_->error);
}

struct ProgressEngine::Impl {
  // How long operations may stand still once the engine is to stop.
  static constexpr std::chrono::seconds kFarewell{3};
  // Between two looks where only standing operations are in flight.
  static constexpr std::chrono::milliseconds kStandingPeriod{20};

  struct Entry {
    std::uint64_t id = 0;
    std::shared_ptr<Operation> operation;
    std::shared_ptr<Ticket::Shared> ticket;
  };
  enum class Phase { kNew, kStarting, kRunning, kStopping, kStopped };

  // Constant after construction.
  const std::function<std::unique_ptr<Communicator>()> make_communicator;

  // Owned by the owner's thread.
  const int exceptions_at_birth = std::uncaught_exceptions();
  std::thread thread;

  // Owned by the engine's thread.
  std::vector<Entry> in_flight;
  std::vector<std::shared_ptr<Operation>> failed;  // a backend may still read their bytes
  Backoff backoff;

  // Guarded by mutex.
  mutable std::mutex mutex;
  std::condition_variable changed;
  Phase phase = Phase::kNew;
  bool has_failed = false;  // set before the phase that ends the thread, like `failure`
  std::string failure = "it failed; its own message says why";
  std::exception_ptr start_error;
  std::vector<Entry> submitted;
  std::uint64_t next_id = 0;
  int rank = 0;
  int size = 0;
  ByteCounters sent;

  explicit Impl(std::function<std::unique_ptr<Communicator>()> make) : make_communicator(std::move(make)) {}

  void run();
  std::unique_ptr<Communicator> connect();
  bool collect();
  bool advance_all(Communicator& communicator);
  bool advance(Communicator& communicator, Entry& entry);
  void rest(bool moved);
  Clock::duration next_sleep();
  bool only_standing() const;
  void finish_flight(Communicator& communicator);
  void close_all();
};

// The engine's thread, from the first call of the backend to the last.
void ProgressEngine::Impl::run() {
  pthread_setname_np(pthread_self(), "thinwire-comm");
  prctl(PR_SET_TIMERSLACK, 1000UL);  // ns: sleeps of 50 us that end on time
  auto communicator = connect();
  if (!communicator) return;
  while (collect()) rest(advance_all(*communicator));
  if (!has_failed) {
    finish_flight(*communicator);
  } else {
    communicator->fail(CommError(CommError::Kind::kClosed, failure));
  }
  for (const auto& operation : failed) communicator->keep(operation);
  for (const Entry& entry : in_flight) communicator->keep(entry.operation);
  communicator.reset();
  close_all();
}

std::unique_ptr<Communicator> ProgressEngine::Impl::connect() {
  std::unique_ptr<Communicator> communicator;
  std::exception_ptr error;
  try {
    communicator = make_communicator();
    if (!communicator) throw std::logic_error("the progress engine got no communicator");
  } catch (...) {
    error = std::current_exception();
  }
  const std::scoped_lock lock(mutex);
  start_error = error;
  phase = error ? Phase::kStopped : Phase::kRunning;
  if (!error) {
    rank = communicator->rank();
    size = communicator->size();
  }
  changed.notify_all();
  return error ? nullptr : std::move(communicator);
}

// Takes over what was submitted; blocks while there is nothing to do. False when the engine is to stop.
bool ProgressEngine::Impl::collect() {
  std::unique_lock lock(mutex);
  if (in_flight.empty()) {
    changed.wait(lock, [&] { return !submitted.empty() || phase != Phase::kRunning; });
    backoff.reset();
  }
  for (Entry& entry : submitted) in_flight.push_back(std::move(entry));
  submitted.clear();
  return phase == Phase::kRunning;
}

// True if anything moved.
bool ProgressEngine::Impl::advance_all(Communicator& communicator) {
  const std::uint64_t moved_before = communicator.moved();
  const std::size_t before = in_flight.size();
  std::erase_if(in_flight, [&](Entry& entry) { return advance(communicator, entry); });
  return communicator.moved() != moved_before || in_flight.size() != before;
}

// True when the entry's operation has ended, well or not.
bool ProgressEngine::Impl::advance(Communicator& communicator, Entry& entry) {
  std::exception_ptr error;
  try {
    if (!entry.operation->advance(communicator, entry.id)) return false;
  } catch (const CommError& comm_error) {
    communicator.fail(comm_error);  // the peers wait for what this operation will not send any more
    error = std::current_exception();
  } catch (...) {
    error = std::current_exception();
  }
  if (error) failed.push_back(entry.operation);
  {
    const std::scoped_lock lock(mutex);
    sent = communicator.sent();
  }
  entry.operation.reset();
  entry.ticket->finish(error);
  return true;
}

// Waits a little if nothing moved; a submission or stop() ends the wait.
void ProgressEngine::Impl::rest(bool moved) {
  if (moved) return backoff.reset();
  if (in_flight.empty()) return;
  const auto sleep = next_sleep();
  if (sleep <= Clock::duration::zero()) return;
  std::unique_lock lock(mutex);
  changed.wait_for(lock, sleep, [&] { return !submitted.empty() || phase != Phase::kRunning; });
}

Clock::duration ProgressEngine::Impl::next_sleep() {
  if (only_standing()) {
    backoff.reset();
    return kStandingPeriod;
  }
  std::optional<Clock::time_point> next_event;
  for (const Entry& entry : in_flight) {
    const auto event = entry.operation->next_event();
    if (event && (!next_event || *event < *next_event)) next_event = event;
  }
  return backoff.next_sleep(next_event);
}

bool ProgressEngine::Impl::only_standing() const {
  return std::all_of(in_flight.begin(), in_flight.end(),
                     [](const Entry& entry) { return entry.operation->is_standing(); });
}

// The peers count on our part of what all have submitted: a run that is stopped has fragments under way.
void ProgressEngine::Impl::finish_flight(Communicator& communicator) {
  auto last_move = Clock::now();
  while (!only_standing() && Clock::now() - last_move < kFarewell) {
    if (advance_all(communicator)) {
      backoff.reset();
      last_move = Clock::now();
    } else {
      backoff.pause(std::nullopt);
    }
  }
}

void ProgressEngine::Impl::close_all() {
  {
    const std::scoped_lock lock(mutex);
    for (Entry& entry : submitted) in_flight.push_back(std::move(entry));
    submitted.clear();
    phase = Phase::kStopped;
  }
  const auto closed = std::make_exception_ptr(
      CommError(CommError::Kind::kClosed, "the progress engine was stopped before this operation was done"));
  for (Entry& entry : in_flight) entry.ticket->finish(closed);
  in_flight.clear();
  failed.clear();
}

ProgressEngine::ProgressEngine(std::function<std::unique_ptr<Communicator>()> make_communicator)
    : impl_(std::make_unique<Impl>(std::move(make_communicator))) {}

// The peers would wait for this rank until the deadline, and it for them to leave with it.
ProgressEngine::~ProgressEngine() {
  if (std::uncaught_exceptions() > impl_->exceptions_at_birth) {
    const std::scoped_lock lock(impl_->mutex);
    impl_->has_failed = true;
  }
  stop();
}

void ProgressEngine::start() {
  std::unique_lock lock(impl_->mutex);
  if (impl_->phase == Impl::Phase::kRunning) return;
  if (impl_->phase != Impl::Phase::kNew)
    throw std::logic_error("a progress engine starts once: make a new one");
  impl_->phase = Impl::Phase::kStarting;
  impl_->thread = std::thread([impl = impl_.get()] { impl->run(); });  // joined by stop(), before impl_ goes
  impl_->changed.wait(lock, [&] { return impl_->phase != Impl::Phase::kStarting; });
  if (impl_->start_error) std::rethrow_exception(impl_->start_error);
}

void ProgressEngine::stop() {
  {
    const std::scoped_lock lock(impl_->mutex);
    if (impl_->phase == Impl::Phase::kRunning) impl_->phase = Impl::Phase::kStopping;
    if (impl_->phase == Impl::Phase::kNew) impl_->phase = Impl::Phase::kStopped;
    impl_->changed.notify_all();
  }
  if (impl_->thread.joinable()) impl_->thread.join();
}

void ProgressEngine::fail(const std::string& why) {
  const std::scoped_lock lock(impl_->mutex);
  impl_->has_failed = true;
  impl_->failure = why;
}

int ProgressEngine::rank() const {
  const std::scoped_lock lock(impl_->mutex);
  return impl_->rank;
}

int ProgressEngine::size() const {
  const std::scoped_lock lock(impl_->mutex);
  return impl_->size;
}

Ticket ProgressEngine::submit(std::shared_ptr<Operation> operation) {
  if (!operation) throw std::invalid_argument("submit() needs an operation");
  Ticket ticket;
  ticket.shared_ = std::make_shared<Ticket::Shared>();
  const std::scoped_lock lock(impl_->mutex);
  if (impl_->phase != Impl::Phase::kRunning) {
    throw CommError(CommError::Kind::kClosed,
                    "the progress engine does not run: call start() first, and nothing "
                    "after stop()");
  }
  impl_->submitted.push_back({impl_->next_id++, std::move(operation), ticket.shared_});
  impl_->changed.notify_all();
  return ticket;
}

std::vector<Buffer> ProgressEngine::gather(std::span<const std::byte> mine, std::size_t max_bytes,
                                           const std::string& what) {
  // The operation owns the bytes: if it fails they may be read after this call has thrown.
  const auto operation =
      std::make_shared<ExchangeOperation>([bytes = Buffer(mine.begin(), mine.end()), max_bytes, what](
                                              const Communicator& communicator, auto sequence) {
        return gather_request(communicator, sequence, bytes, max_bytes, what);
      });
  submit(operation).wait();
  return operation->take();
}

void ProgressEngine::barrier() {
  submit(std::make_shared<ExchangeOperation>(barrier_request)).wait();
}

Buffer ProgressEngine::broadcast(int root, std::span<const std::byte> bytes, std::size_t max_bytes) {
  const auto operation =
      std::make_shared<ExchangeOperation>([mine = Buffer(bytes.begin(), bytes.end()), root, max_bytes](
                                              const Communicator& communicator, auto sequence) {
        return broadcast_request(communicator, sequence, root, mine, max_bytes);
      });
  submit(operation).wait();
  return broadcast_result(rank(), root, operation->take());
}

ByteCounters ProgressEngine::sent() const {
  const std::scoped_lock lock(impl_->mutex);
  return impl_->sent;
}

}  // namespace thinwire::comm
