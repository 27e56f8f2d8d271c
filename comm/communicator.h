// How bytes move between the workers of one world: a small non-blocking interface that every backend fills.
//
// One thread owns a communicator and makes all calls on it (the progress engine's thread). A world of one is
// legal: its exchanges hand back the own message.
//
//   auto work = communicator.exchange({.sequence = 7, .outgoing = {mine, mine}, .max_bytes = 1 << 20});
//   while (!work->test()) { ... }                  // right: polls, does other things, never blocks
//   std::vector<Buffer> all = work->take();         // right: only after test() returned true
//
//   communicator.exchange(...); mine.clear();       // WRONG: outgoing bytes must live until the work is done
//   exchange(sequence 7) on rank 0, 8 on rank 1     // WRONG: kOutOfPhase or kTimeout on both, never a hang
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "comm/errors.h"

namespace thinwire::comm {

using Buffer = std::vector<std::byte>;
using Clock = std::chrono::steady_clock;

// What a message is charged to. Wire bytes are our header and payload, counted once per destination by the
// sender; control bytes (digests, barriers, broadcasts, metrics) are counted apart.
enum class Traffic : std::uint8_t { kWire, kControl };

struct ExchangeRequest {
  std::uint64_t sequence = 0;  // equal on all ranks for the same exchange, different for any two in flight
  std::vector<std::span<const std::byte>> outgoing;  // entry r goes to rank r; entries may be the same span
  std::size_t max_bytes = 0;                         // local limit on each incoming message, checked before allocating
  Traffic traffic = Traffic::kWire;
  std::string what;                                  // for error messages, e.g. "fragment 2 at step 60, gather"
};

// An exchange under way.
class Work {
 public:
  virtual ~Work() = default;
  // Moves what can be moved without blocking. True when every message was sent and received; throws CommError
  // on failure, and kTimeout once the communicator's deadline for one exchange has passed.
  virtual bool test() = 0;
  // One buffer per rank; the own entry is a copy of the own outgoing bytes. Once, after test() returned true.
  virtual std::vector<Buffer> take() = 0;
  // Earliest time at which test() can make progress, if the backend knows (a shaped link does); the engine may
  // sleep until then.
  virtual std::optional<Clock::time_point> next_event() const { return std::nullopt; }
};

struct ByteCounters {
  std::uint64_t wire = 0;
  std::uint64_t control = 0;
};

class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual std::string_view backend() const = 0;

  // Starts sending outgoing[r] to every rank r and receiving one message from every rank.
  virtual std::unique_ptr<Work> exchange(ExchangeRequest request) = 0;

  // Bytes handed over for sending so far, over all destinations but the own rank.
  virtual ByteCounters sent() const = 0;
};

// Blocking forms, built on exchange() and bound by its deadline. All ranks call them in the same order.
// barrier: returns when every rank has entered.
void barrier(Communicator& communicator, std::uint64_t sequence);
// broadcast: bytes of `root` on every rank; max_bytes bounds what is accepted.
Buffer broadcast(Communicator& communicator, std::uint64_t sequence, int root, std::span<const std::byte> bytes,
                 std::size_t max_bytes);

}  // namespace thinwire::comm
