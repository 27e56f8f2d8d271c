// How bytes move between the workers of one world: a small non-blocking interface over every backend.
//
// One thread owns a communicator and makes all calls on it (the progress engine's thread). A world of one is
// legal: its exchanges hand back what was sent.
//
//   auto work = communicator.exchange({.sequence = 7, .outgoing = {mine, mine}, .max_bytes = 1 << 20});
//   while (!work->test()) { ... }                  // right: polls, does other things, never blocks
//   std::vector<Buffer> all = work->take();         // right: only after test() returned true
//
//   communicator.exchange(...); mine.clear();       // WRONG: `mine` must live until the work is done
//   exchange(sequence 7) on rank 0, 8 on rank 1     // WRONG: kOutOfPhase on both at the deadline, no hang
//
// Deadline: an exchange fails once timeout_s has passed in which nothing of it was sent or received. Time in
// which a shaped link holds this rank's messages does not count. After an error the communicator is broken:
// every call on it and on its works throws that error again, and the peers are told. Make a new world to go
// on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comm/errors.h"
#include "comm/transport.h"

namespace thinwire::comm {

struct ExchangeRequest {
  std::uint64_t sequence = 0;  // equal on all ranks for the same exchange, never used twice
  std::vector<std::span<const std::byte>> outgoing{};  // entry r goes to rank r; entries may be the same span
  std::size_t max_bytes = 0;  // local limit on each incoming message, checked before allocating
  // By rank: the exact size of its message, where this rank knows it and the peer knows that too; or empty.
  // The backend may then post the receive beforehand and skip the announcement. All ranks give sizes, or
  // none.
  std::vector<std::size_t> expected_bytes{};
  Traffic traffic = Traffic::kWire;
  std::string what{};  // for error messages, e.g. "fragment 2 at step 60, gather"
};

struct ByteCounters {
  std::uint64_t wire = 0;
  std::uint64_t control = 0;
};

// An exchange under way. Outlives its communicator safely (test() then throws kClosed), but an exchange
// dropped before it is done breaks the communicator: the peers wait for it.
class Work {
 public:
  struct State;
  explicit Work(std::shared_ptr<State> state);
  ~Work();
  Work(const Work&) = delete;
  Work& operator=(const Work&) = delete;

  // Moves what can be moved without blocking. True when every message was sent and received; throws CommError
  // on failure, and kTimeout or kOutOfPhase past the deadline.
  bool test();
  // True if every message of this rank has left, as far as the transport knows.
  bool sent() const;
  // One buffer per rank; this rank's is a copy of what it sent. Call it once, after test() returned true.
  std::vector<Buffer> take();
  // Earliest time at which test() can make progress, if the transport knows (a shaped link does). Peers may
  // be earlier: a caller that sleeps looks in between.
  std::optional<Clock::time_point> next_event() const;

 private:
  std::shared_ptr<State> state_;  // shared with the communicator until done
};

class Communicator {
 public:
  // Throws std::invalid_argument if timeout_s is not positive and finite.
  Communicator(std::unique_ptr<Transport> transport, double timeout_s);
  ~Communicator();
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int rank() const;
  int size() const;
  std::string_view backend() const;

  // Starts sending outgoing[r] to every rank r and receiving one message from every rank. Throws
  // std::invalid_argument for a request of another world's size or a sequence in flight.
  std::unique_ptr<Work> exchange(ExchangeRequest request);

  // Whether a peer has begun the exchange of this sequence, which this rank has not: how a rank is called to
  // an exchange that mostly never happens. Polls. Throws CommError kPeerLost if a peer has left instead.
  bool is_called(std::uint64_t sequence);

  // Breaks the communicator: every call from here on throws `error`, and the peers are told. For the owner of
  // an exchange who finds its messages wrong.
  void fail(const CommError& error);

  // Bytes handed over for sending so far, to all other ranks.
  ByteCounters sent() const;

  // Counts the messages moved so far, in either direction: a caller that polls sees whether polling pays.
  std::uint64_t moved() const;

  // Counts the exchanges of wire traffic with a message that has not left. Senders of bulk data poll this and
  // hold back, so that others, and control messages, find a short queue.
  std::size_t sending() const;

  // Hands back what take() gave, for later messages to come in: in steady state nothing is allocated.
  void reuse(Buffer storage);

  // After an error a transport may still read outgoing bytes of works that are not done (MPI does, whenever
  // the process calls it). Hand the object that owns those bytes to keep(): it then lives until no transport
  // can read them any more, for ever if need be (Transport::keep).
  void keep(std::shared_ptr<const void> owner);

  // Puts a layer (a shaped link) around the transport. Before the first exchange; std::logic_error
  // afterwards.
  void wrap(const std::function<std::unique_ptr<Transport>(std::unique_ptr<Transport>)>& layer);

  class Core;

 private:
  std::unique_ptr<Core> core_;
};

// Blocking forms, built on exchange() and bound by its deadline. All ranks call them in the same order.
// barrier: returns when every rank has entered.
void barrier(Communicator& communicator, std::uint64_t sequence);
// broadcast: bytes of `root` on every rank; max_bytes bounds what is accepted.
Buffer broadcast(Communicator& communicator, std::uint64_t sequence, int root,
                 std::span<const std::byte> bytes, std::size_t max_bytes);

}  // namespace thinwire::comm
