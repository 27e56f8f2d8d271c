// Moves payloads while training goes on: one named thread that owns the communicator and advances every
// operation in flight. Nothing else may call the communicator.
//
// Ordering: an operation's id is its place in the order of submit(); all ranks submit the same operations in the
// same order, so ids agree without talking. Operations then progress independently.
#pragma once

#include <functional>
#include <memory>

#include "comm/communicator.h"

namespace thinwire::comm {

// A collective as a state machine. Called on the engine's thread only, with the id that submit() gave.
// Each exchange it starts uses sequence = exchange_sequence(id, leg).
class Operation {
 public:
  virtual ~Operation() = default;
  // Moves what can be moved without blocking; true when complete. Throwing fails the operation.
  virtual bool advance(Communicator& communicator, std::uint64_t id) = 0;
  virtual std::optional<Clock::time_point> next_event() const { return std::nullopt; }
};

constexpr std::uint64_t exchange_sequence(std::uint64_t id, unsigned leg) { return id * 4 + leg; }

// A submitted operation, shared by the submitter and the engine.
class Ticket {
 public:
  bool done() const;
  // Blocks until complete; rethrows what the operation threw. The deadline is the communicator's own.
  void wait() const;

 private:
  friend class ProgressEngine;
  struct Shared;
  std::shared_ptr<Shared> shared_;
};

// Thread safety: submit(), run() and sent() from any thread; start() and stop() from the owner.
class ProgressEngine {
 public:
  // make_communicator runs on the engine's thread: MPI is initialised, used and finalised there.
  explicit ProgressEngine(std::function<std::unique_ptr<Communicator>()> make_communicator);
  ~ProgressEngine();  // stops and joins
  ProgressEngine(const ProgressEngine&) = delete;
  ProgressEngine& operator=(const ProgressEngine&) = delete;

  void start();  // returns when the communicator exists; throws what making it threw
  void stop();   // fails what is in flight with kClosed, destroys the communicator; may be called twice

  int rank() const;
  int size() const;

  // operation must stay alive until the ticket is done; the engine keeps it alive by the shared_ptr.
  Ticket submit(std::shared_ptr<Operation> operation);

  // An all-gather of small control messages: entry r of the result is rank r's bytes. Blocking.
  std::vector<Buffer> gather(std::span<const std::byte> mine, std::size_t max_bytes, const std::string& what);
  void barrier();
  Buffer broadcast(int root, std::span<const std::byte> bytes, std::size_t max_bytes);

  ByteCounters sent() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace thinwire::comm
