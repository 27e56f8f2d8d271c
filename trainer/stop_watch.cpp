#include "trainer/stop_watch.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace thinwire::trainer {
namespace {

// Between two looks while other operations keep the engine's thread busy.
constexpr std::chrono::milliseconds kPeriod{5};

// What a worker says. Workers of one run have one byte order, as everywhere in a run.
struct Record {
  std::int64_t step = 0;  // the last one that it can end after
  std::int64_t signal = 0;
};

}  // namespace

class StopWatch::Call final : public comm::Operation {
 public:
  Call(const std::atomic<int>* signal, std::int64_t step) : signal_(signal), step_(step) {}

  // The training thread is about to take `step`, unless this worker has joined.
  bool go_on(std::int64_t step) {
    const std::scoped_lock lock(mutex_);
    if (!joined_) step_ = step;
    return !joined_;
  }

  void join(std::int64_t step) {
    const std::scoped_lock lock(mutex_);
    if (joined_) return;
    step_ = step;
    joined_ = true;
  }

  bool advance(comm::Communicator& communicator, std::uint64_t id) override {
    const std::uint64_t sequence = comm::exchange_sequence(id, 0);
    if (!work_ && !start(communicator, sequence)) return false;
    if (!work_->test()) return false;
    for (const comm::Buffer& buffer : work_->take()) add(buffer);
    return true;
  }
  std::optional<comm::Clock::time_point> next_event() const override {
    return work_ ? work_->next_event() : std::nullopt;
  }
  bool is_standing() const override { return !work_; }

  // After the ticket is done.
  const Record& agreed() const { return agreed_; }

 private:
  bool start(comm::Communicator& communicator, std::uint64_t sequence) {
    const auto now = comm::Clock::now();
    if (now < next_look_) return false;
    next_look_ = now + kPeriod;
    const int signal = signal_ == nullptr ? 0 : signal_->load();
    const bool called = communicator.is_called(sequence);
    {
      const std::scoped_lock lock(mutex_);
      if (!joined_ && signal == 0 && !called) return false;
      joined_ = true;
      mine_ = {step_, signal};
    }
    const auto bytes = std::as_bytes(std::span(&mine_, 1));
    const std::vector<std::span<const std::byte>> outgoing(static_cast<std::size_t>(communicator.size()),
                                                           bytes);
    work_ = communicator.exchange({.sequence = sequence,
                                   .outgoing = outgoing,
                                   .max_bytes = sizeof(Record),
                                   .traffic = comm::Traffic::kControl,
                                   .what = "the step to stop at"});
    return true;
  }

  void add(const comm::Buffer& buffer) {
    Record record;
    if (buffer.size() != sizeof record)
      throw comm::CommError(comm::CommError::Kind::kBadMessage,
                            "the step to stop at: the workers are of different builds");
    std::memcpy(&record, buffer.data(), sizeof record);
    agreed_.step = std::max(agreed_.step, record.step);
    agreed_.signal = std::max(agreed_.signal, record.signal);
  }

  // Constant after construction.
  const std::atomic<int>* const signal_;

  // Owned by the engine's thread; agreed_ by the training thread once the ticket is done.
  comm::Clock::time_point next_look_;
  Record mine_;  // being sent
  std::unique_ptr<comm::Work> work_;
  Record agreed_;

  // Guarded by mutex_.
  std::mutex mutex_;
  std::int64_t step_;
  bool joined_ = false;
};

StopWatch::StopWatch(comm::ProgressEngine& engine, const std::atomic<int>* signal, std::int64_t first)
    : call_(std::make_shared<Call>(signal, first)), ticket_(engine.submit(call_)) {}

bool StopWatch::ends_after(std::int64_t step) {
  if (ticket_.done()) ticket_.wait();  // throws if a peer has failed
  if (call_->go_on(step + 1)) return false;
  return step >= agreed_step();
}

void StopWatch::close(std::int64_t last_step) {
  call_->join(last_step);
  ticket_.wait();
}

int StopWatch::signal() const {
  return static_cast<int>(call_->agreed().signal);
}

std::int64_t StopWatch::agreed_step() {
  ticket_.wait();
  return call_->agreed().step;
}

}  // namespace thinwire::trainer
