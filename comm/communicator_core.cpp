#include "comm/communicator_core.h"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

namespace thinwire::comm {

namespace {

// A peer this many messages ahead of us is lost in its order, not early.
constexpr std::size_t kMaxEarlyMessages = 4096;

double checked_timeout(double timeout_s) {
  if (timeout_s > 0 && timeout_s <= 1e8) return timeout_s;
  throw std::invalid_argument(
      fmt::format("comm.timeout_s must be positive and at most 1e8 seconds, got {}", timeout_s));
}

std::string_view name(Traffic traffic) {
  return traffic == Traffic::kWire ? "wire" : "control";
}

}  // namespace

Communicator::Core::Core(std::unique_ptr<Transport> transport, double timeout_s)
    : transport_(std::move(transport)),
      timeout_s_(checked_timeout(timeout_s)),
      timeout_(duration_of(timeout_s)),
      lost_(transport_->size()) {}

Communicator::Core::~Core() {
  if (!active_.empty()) transport_->leave("its communicator was closed with exchanges under way");
  for (auto& [sequence, state] : active_) state->core = nullptr;
}

void Communicator::Core::wrap(
    const std::function<std::unique_ptr<Transport>(std::unique_ptr<Transport>)>& layer) {
  if (started_) throw std::logic_error("a transport is wrapped before the first exchange, not after");
  transport_ = layer(std::move(transport_));
}

std::shared_ptr<Work::State> Communicator::Core::begin(ExchangeRequest request) {
  check_request(request);
  started_ = true;
  const int size = transport_->size();
  const int rank = transport_->rank();
  auto state = std::make_shared<Work::State>();
  state->request = std::move(request);
  state->peers.resize(size);
  state->incoming.resize(size);
  state->start = Clock::now();
  state->deadline = state->start + timeout_;
  const auto own = state->request.outgoing[rank];
  state->incoming[rank].assign(own.begin(), own.end());
  state->peers[rank] = {true, true, true};
  state->core = this;
  state->num_unsent = size - 1;
  active_[state->request.sequence] = state;
  if (size > 1 && state->request.traffic == Traffic::kWire) ++sending_;
  // Rank r starts with its right neighbour, so that not everybody sends to rank 0 first.
  for (int i = 1; i < size; ++i) send_to(*state, (rank + i) % size);
  finish_if_complete(*state);
  return state;
}

void Communicator::Core::check_request(const ExchangeRequest& request) const {
  if (failure_) throw CommError(*failure_);
  const int rank = transport_->rank();
  if (request.outgoing.size() != static_cast<std::size_t>(transport_->size())) {
    throw std::invalid_argument(fmt::format("[{}] rank {}: {} outgoing messages for a world of {}",
                                            request.what, rank, request.outgoing.size(), transport_->size()));
  }
  if (!request.expected_bytes.empty() && request.expected_bytes.size() != request.outgoing.size()) {
    throw std::invalid_argument(fmt::format("[{}] rank {}: {} expected sizes for a world of {}", request.what,
                                            rank, request.expected_bytes.size(), transport_->size()));
  }
  if (active_.contains(request.sequence)) {
    throw std::invalid_argument(
        fmt::format("[{}] rank {}: sequence {} is in flight already", request.what, rank, request.sequence));
  }
}

void Communicator::Core::send_to(Work::State& state, int peer) {
  require_present(state, peer);
  const ExchangeRequest& request = state.request;
  const auto bytes = request.outgoing[peer];
  const bool expected = !request.expected_bytes.empty();
  try {
    if (expected) transport_->expect(peer, request.sequence, request.expected_bytes[peer]);
    progressed(state, transport_->send({peer, request.sequence, request.traffic, bytes, expected}));
  } catch (const CommError& error) {
    fail(error);
  }
  (request.traffic == Traffic::kWire ? counters_.wire : counters_.control) += bytes.size();
  if (const auto early = early_.find({peer, request.sequence}); early != early_.end()) {
    accept(state, peer, early->second);
    early_.erase(early);
  }
}

void Communicator::Core::advance(Work::State& state) {
  if (failure_) throw CommError(*failure_);
  poll();
  if (!state.done) check_deadline(state);
}

bool Communicator::Core::is_called(std::uint64_t sequence) {
  if (failure_) throw CommError(*failure_);
  started_ = true;
  poll();
  for (int peer = 0; peer < transport_->size(); ++peer) {
    if (early_.contains({peer, sequence})) return true;
  }
  for (int peer = 0; peer < transport_->size(); ++peer) {
    if (!lost_[peer]) continue;
    fail(CommError(CommError::Kind::kPeerLost,
                   fmt::format("rank {}: rank {} left: {}; resume the run from its newest checkpoint",
                               transport_->rank(), peer, *lost_[peer])));
  }
  return false;
}

void Communicator::Core::abandon(Work::State& state) {
  const std::uint64_t sequence = state.request.sequence;
  break_with(
      CommError(CommError::Kind::kClosed,
                fmt::format("[{}] rank {}: seq {} was dropped before it was done; the peers wait for it",
                            state.request.what, transport_->rank(), sequence)));
  active_.erase(sequence);
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
    if (events_.empty()) break;
    for (TransportEvent& event : events_) handle(event);
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
  PeerProgress& progress = state.peers[event.peer];
  if (event.kind == Kind::kSent) note_sent(state, event.peer);
  if (event.kind == Kind::kReceived) {
    progress.announced = progress.received = true;
    state.incoming[event.peer] = std::move(event.data);
  }
  progressed(state, Clock::now());
  finish_if_complete(state);
}

void Communicator::Core::handle_announced(const TransportEvent& event) {
  const Announcement message{event.num_bytes, event.traffic, event.due};
  const auto found = active_.find(event.sequence);
  if (found != active_.end()) return accept(*found->second, event.peer, message);
  const bool fresh = early_.emplace(std::pair(event.peer, event.sequence), message).second;
  if (fresh && early_.size() <= kMaxEarlyMessages * lost_.size()) return;
  fail(CommError(
      CommError::Kind::kOutOfPhase,
      fmt::format("[receive] rank {}: rank {} sent seq {} {}; the ranks submit different operations - "
                  "compare their configs and logs",
                  transport_->rank(), event.peer, event.sequence,
                  fresh ? "far ahead of this rank" : "twice")));
}

void Communicator::Core::accept(Work::State& state, int peer, const Announcement& message) {
  check_announced(state, peer, message);
  state.peers[peer].announced = true;
  progressed(state, message.due);
  try {
    transport_->accept(peer, state.request.sequence);
  } catch (const CommError& error) {
    fail(error);
  }
}

void Communicator::Core::check_announced(const Work::State& state, int peer, const Announcement& message) {
  if (state.peers[peer].announced) {
    fail(CommError::Kind::kOutOfPhase, state, peer, "expected one message, got two");
  }
  if (message.num_bytes > state.request.max_bytes) {
    fail(CommError::Kind::kBadMessage, state, peer,
         fmt::format("expected at most {} bytes, it announced {}; compare codec, block, fragments and model "
                     "on all ranks",
                     state.request.max_bytes, message.num_bytes));
  }
  if (message.traffic != state.request.traffic) {
    fail(CommError::Kind::kOutOfPhase, state, peer,
         fmt::format("expected a {} message, got a {} message; the ranks submit different operations",
                     name(state.request.traffic), name(message.traffic)));
  }
}

void Communicator::Core::note_sent(Work::State& state, int peer) {
  state.peers[peer].sent = true;
  if (--state.num_unsent == 0 && state.request.traffic == Traffic::kWire) --sending_;
}

void Communicator::Core::progressed(Work::State& state, Clock::time_point when) {
  state.deadline = std::max(state.deadline, when + timeout_);
}

// May end the state's life, if its owner has let go.
void Communicator::Core::finish_if_complete(Work::State& state) {
  if (!std::all_of(state.peers.begin(), state.peers.end(), [](const auto& peer) { return peer.complete(); }))
    return;
  state.done = true;
  state.core = nullptr;
  active_.erase(state.request.sequence);
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
  const std::string others = early_sequences(peer);
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

// The first few that the peer sent and nobody here has asked for.
std::string Communicator::Core::early_sequences(int peer) const {
  std::string text;
  for (const auto& [key, message] : early_) {
    if (key.first != peer) continue;
    if (text.size() > 60) return text + ", ...";
    text += fmt::format("{}{}", text.empty() ? "" : ", ", key.second);
  }
  return text;
}

void Communicator::Core::fail(CommError::Kind kind, const Work::State& state, int peer,
                              const std::string& found) {
  fail(CommError(kind, fmt::format("[{}] rank {}, peer {}, seq {}, after {:.1f} s: {}", state.request.what,
                                   transport_->rank(), peer, state.request.sequence,
                                   seconds_of(Clock::now() - state.start), found)));
}

void Communicator::Core::fail(const CommError& error) {
  break_with(error);
  throw CommError(error);
}

}  // namespace thinwire::comm
