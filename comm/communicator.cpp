#include "comm/communicator.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <stdexcept>
#include <utility>

#include "comm/control.h"

namespace thinwire::comm {

namespace {

// A peer this many messages ahead of us is lost in its order, not early.
constexpr std::size_t kMaxEarlyMessages = 4096;

struct PeerProgress {
  bool sent = false;
  bool announced = false;
  bool received = false;
  bool complete() const { return sent && received; }
};

double seconds(Clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

std::string_view name(Traffic traffic) {
  return traffic == Traffic::kWire ? "wire" : "control";
}

}  // namespace

struct Work::State {
  Communicator::Core* core = nullptr;  // null once done, or once the communicator is gone
  ExchangeRequest request;
  std::vector<PeerProgress> peers;
  std::vector<Buffer> incoming;
  Clock::time_point start;
  Clock::time_point deadline;
  bool done = false;
};

// Matches messages to exchanges and turns what goes wrong into errors.
class Communicator::Core {
 public:
  Core(std::unique_ptr<Transport> transport, double timeout_s)
      : transport_(std::move(transport)), timeout_s_(timeout_s), lost_(transport_->size()) {
    if (!(timeout_s > 0) || timeout_s > 1e8) {
      throw std::invalid_argument(
          fmt::format("comm.timeout_s must be positive and at most 1e8 seconds, got {}", timeout_s));
    }
  }

  ~Core() {
    if (!active_.empty()) transport_->leave("its communicator was closed with exchanges under way");
    for (auto& [sequence, state] : active_) state->core = nullptr;
  }

  Transport& transport() { return *transport_; }
  const ByteCounters& counters() const { return counters_; }
  std::uint64_t moved() const { return moved_; }

  void wrap(const std::function<std::unique_ptr<Transport>(std::unique_ptr<Transport>)>& layer) {
    if (started_) throw std::logic_error("a transport is wrapped before the first exchange, not after");
    transport_ = layer(std::move(transport_));
  }

  std::shared_ptr<Work::State> begin(ExchangeRequest request);
  void advance(Work::State& state);
  void abandon(Work::State& state);
  void break_with(const CommError& error);

 private:
  struct Early {
    std::size_t num_bytes = 0;
    Traffic traffic = Traffic::kWire;
  };

  void rethrow_failure() const {
    if (failure_) throw CommError(*failure_);
  }
  void poll();
  void handle(TransportEvent& event);
  void handle_announced(const TransportEvent& event);
  void accept(Work::State& state, int peer, const Early& message);
  void progressed(Work::State& state);
  void require_present(const Work::State& state, int peer);
  void check_deadline(const Work::State& state);
  [[noreturn]] void fail(CommError::Kind kind, const Work::State& state, int peer, const std::string& found);
  [[noreturn]] void fail(const CommError& error);

  std::unique_ptr<Transport> transport_;
  const double timeout_s_;
  bool started_ = false;
  std::map<std::uint64_t, std::shared_ptr<Work::State>> active_;  // by sequence
  std::map<std::pair<int, std::uint64_t>, Early> early_;          // announced, but not yet asked for
  std::vector<std::optional<std::string>> lost_;                  // by rank: why it left
  std::optional<CommError> failure_;
  ByteCounters counters_;
  std::uint64_t moved_ = 0;
  std::vector<TransportEvent> events_;
};

std::shared_ptr<Work::State> Communicator::Core::begin(ExchangeRequest request) {
  rethrow_failure();
  const auto size = static_cast<std::size_t>(transport_->size());
  const int rank = transport_->rank();
  if (request.outgoing.size() != size) {
    throw std::invalid_argument(fmt::format("[{}] rank {}: {} outgoing messages for a world of {}",
                                            request.what, rank, request.outgoing.size(), size));
  }
  if (active_.contains(request.sequence)) {
    throw std::invalid_argument(
        fmt::format("[{}] rank {}: sequence {} is in flight already", request.what, rank, request.sequence));
  }
  started_ = true;
  auto state = std::make_shared<Work::State>();
  state->request = std::move(request);
  state->peers.resize(size);
  state->incoming.resize(size);
  state->start = state->deadline = Clock::now();
  const auto own = state->request.outgoing[rank];
  state->incoming[rank].assign(own.begin(), own.end());
  state->peers[rank] = {true, true, true};
  if (size == 1) {
    state->done = true;
    return state;
  }
  state->core = this;
  active_[state->request.sequence] = state;
  const std::uint64_t sequence = state->request.sequence;
  // Rank r starts with its right neighbour, so that not everybody sends to rank 0 first.
  for (std::size_t i = 1; i < size; ++i) {
    const int peer = static_cast<int>((rank + i) % size);
    require_present(*state, peer);
    const auto bytes = state->request.outgoing[peer];
    try {
      const auto leaves = transport_->send({peer, sequence, state->request.traffic, bytes});
      state->deadline = std::max(state->deadline, leaves);
    } catch (const CommError& error) {
      fail(error);
    }
    (state->request.traffic == Traffic::kWire ? counters_.wire : counters_.control) += bytes.size();
    if (const auto early = early_.find({peer, sequence}); early != early_.end()) {
      accept(*state, peer, early->second);
      early_.erase(early);
    }
  }
  state->deadline += std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(timeout_s_));
  return state;
}

void Communicator::Core::advance(Work::State& state) {
  rethrow_failure();
  poll();
  if (!state.done) check_deadline(state);
}

void Communicator::Core::abandon(Work::State& state) {
  active_.erase(state.request.sequence);
  break_with(
      CommError(CommError::Kind::kClosed,
                fmt::format("[{}] rank {}: seq {} was dropped before it was done; the peers wait for it",
                            state.request.what, transport_->rank(), state.request.sequence)));
}

void Communicator::Core::break_with(const CommError& error) {
  if (failure_) return;
  failure_ = error;
  transport_->leave(error.what());
}

void Communicator::Core::poll() {
  // Accepting a message often makes it available at once; a few rounds save a pass of the caller's loop.
  for (int round = 0; round < 4; ++round) {
    events_.clear();
    try {
      transport_->poll(events_);
    } catch (const CommError& error) {
      fail(error);
    }
    for (TransportEvent& event : events_) handle(event);
    if (events_.empty()) break;
  }
  // Only now: what a peer sent before it left still counts.
  for (int peer = 0; peer < transport_->size(); ++peer) {
    if (!lost_[peer]) continue;
    for (const auto& [sequence, state] : active_) require_present(*state, peer);
  }
}

void Communicator::Core::handle(TransportEvent& event) {
  using Kind = TransportEvent::Kind;
  if (event.kind == Kind::kAnnounced) return handle_announced(event);
  if (event.kind == Kind::kLost) {
    lost_[event.peer] = std::move(event.reason);
    return;
  }
  ++moved_;
  const auto found = active_.find(event.sequence);
  if (found == active_.end()) return;
  Work::State& state = *found->second;
  if (event.kind == Kind::kSent) {
    state.peers[event.peer].sent = true;
  } else {
    state.peers[event.peer].received = true;
    state.incoming[event.peer] = std::move(event.data);
  }
  progressed(state);
}

void Communicator::Core::handle_announced(const TransportEvent& event) {
  const Early message{event.num_bytes, event.traffic};
  const auto found = active_.find(event.sequence);
  if (found != active_.end()) {
    accept(*found->second, event.peer, message);
    return;
  }
  const bool fresh = early_.emplace(std::pair(event.peer, event.sequence), message).second;
  if (!fresh || early_.size() > kMaxEarlyMessages * lost_.size()) {
    fail(CommError(
        CommError::Kind::kOutOfPhase,
        fmt::format("[receive] rank {}: rank {} sent seq {} {}; the ranks submit different operations - "
                    "compare their configs and logs",
                    transport_->rank(), event.peer, event.sequence,
                    fresh ? "far ahead of this rank" : "twice")));
  }
}

void Communicator::Core::accept(Work::State& state, int peer, const Early& message) {
  if (state.peers[peer].announced)
    fail(CommError::Kind::kOutOfPhase, state, peer, "expected one message, got two");
  state.peers[peer].announced = true;
  if (message.num_bytes > state.request.max_bytes) {
    fail(CommError::Kind::kBadMessage, state, peer,
         fmt::format(
             "expected at most {} bytes, it announced {}; compare codec, block, fragments and model on all "
             "ranks",
             state.request.max_bytes, message.num_bytes));
  }
  if (message.traffic != state.request.traffic) {
    fail(CommError::Kind::kOutOfPhase, state, peer,
         fmt::format("expected a {} message, got a {} message; the ranks submit different operations",
                     name(state.request.traffic), name(message.traffic)));
  }
  try {
    transport_->accept(peer, state.request.sequence);
  } catch (const CommError& error) {
    fail(error);
  }
}

void Communicator::Core::progressed(Work::State& state) {
  state.deadline = std::max(state.deadline, Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                                               std::chrono::duration<double>(timeout_s_)));
  const bool complete =
      std::all_of(state.peers.begin(), state.peers.end(), [](const PeerProgress& p) { return p.complete(); });
  if (!complete) return;
  state.done = true;
  state.core = nullptr;
  active_.erase(state.request.sequence);  // may end the state's life here: nothing may touch it below
}

void Communicator::Core::require_present(const Work::State& state, int peer) {
  if (!lost_[peer] || state.peers[peer].complete()) return;
  fail(CommError::Kind::kPeerLost, state, peer,
       fmt::format("rank {} left: {}; resume the run from its newest checkpoint", peer, *lost_[peer]));
}

void Communicator::Core::check_deadline(const Work::State& state) {
  if (Clock::now() < state.deadline) return;
  int peer = 0;
  while (state.peers[peer].complete()) ++peer;
  const PeerProgress& progress = state.peers[peer];
  std::string others;
  for (const auto& [key, message] : early_) {
    if (key.first == peer && others.size() < 60)
      others += fmt::format("{}{}", others.empty() ? "" : ", ", key.second);
  }
  if (!progress.announced && !others.empty()) {
    fail(CommError::Kind::kOutOfPhase, state, peer,
         fmt::format(
             "expected seq {}, but in {:.1f} s it sent only seq {}; the ranks submit operations in different "
             "order - compare their configs and logs",
             state.request.sequence, timeout_s_, others));
  }
  const char* missing = !progress.announced  ? "its message"
                        : !progress.received ? "the rest of its message"
                                             : "it to take our message";
  fail(CommError::Kind::kTimeout, state, peer,
       fmt::format(
           "waited for {}, nothing moved for {:.1f} s; look at that rank's log (dead, stopped or slow?), or "
           "raise comm.timeout_s",
           missing, timeout_s_));
}

void Communicator::Core::fail(CommError::Kind kind, const Work::State& state, int peer,
                              const std::string& found) {
  fail(CommError(kind, fmt::format("[{}] rank {}, peer {}, seq {}, after {:.1f} s: {}", state.request.what,
                                   transport_->rank(), peer, state.request.sequence,
                                   seconds(Clock::now() - state.start), found)));
}

void Communicator::Core::fail(const CommError& error) {
  break_with(error);
  throw CommError(error);
}

Work::Work(std::shared_ptr<State> state) : state_(std::move(state)) {}

Work::~Work() {
  if (state_ && !state_->done && state_->core != nullptr) state_->core->abandon(*state_);
}

bool Work::test() {
  if (state_->done) return true;
  if (state_->core == nullptr) {
    throw CommError(CommError::Kind::kClosed,
                    fmt::format("[{}] seq {}: the communicator was closed before this was done",
                                state_->request.what, state_->request.sequence));
  }
  state_->core->advance(*state_);
  return state_->done;
}

std::vector<Buffer> Work::take() {
  if (!state_->done) throw std::logic_error("take() before test() returned true");
  return std::move(state_->incoming);
}

std::optional<Clock::time_point> Work::next_event() const {
  return state_->core == nullptr ? std::nullopt : state_->core->transport().next_event();
}

Communicator::Communicator(std::unique_ptr<Transport> transport, double timeout_s)
    : core_(std::make_unique<Core>(std::move(transport), timeout_s)) {}

Communicator::~Communicator() = default;

int Communicator::rank() const {
  return core_->transport().rank();
}
int Communicator::size() const {
  return core_->transport().size();
}
std::string_view Communicator::backend() const {
  return core_->transport().name();
}
ByteCounters Communicator::sent() const {
  return core_->counters();
}
void Communicator::fail(const CommError& error) {
  core_->break_with(error);
}
std::uint64_t Communicator::moved() const {
  return core_->moved();
}

std::unique_ptr<Work> Communicator::exchange(ExchangeRequest request) {
  return std::make_unique<Work>(core_->begin(std::move(request)));
}

void Communicator::wrap(const std::function<std::unique_ptr<Transport>(std::unique_ptr<Transport>)>& layer) {
  core_->wrap(layer);
}

void barrier(Communicator& communicator, std::uint64_t sequence) {
  const auto work = communicator.exchange(barrier_request(communicator, sequence));
  wait(communicator, *work);
}

Buffer broadcast(Communicator& communicator, std::uint64_t sequence, int root,
                 std::span<const std::byte> bytes, std::size_t max_bytes) {
  const auto work = communicator.exchange(broadcast_request(communicator, sequence, root, bytes, max_bytes));
  return broadcast_result(communicator.rank(), root, wait(communicator, *work));
}

}  // namespace thinwire::comm
