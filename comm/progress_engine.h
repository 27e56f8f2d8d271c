// Moves payloads while training goes on: one named thread that owns the communicator and advances every
// operation in flight. Nothing else may call the communicator.
//
// Ordering: an operation's id is its place in the order of submit(); all ranks submit the same operations in
// the same order, so ids agree without talking. Operations then progress independently.
//
// The thread polls while an operation is in flight (a bounded spin, yields, then short sleeps:
// comm/backoff.h) and blocks while none is.
#pragma once

#include <functional>
#include <memory>

#include "comm/communicator.h"

namespace thinwire::comm {

// A collective as a state machine. Called on the engine's thread only, with the id that submit() gave.
// Each exchange it starts uses sequence = exchange_sequence(id, number), every number at most once.
class Operation {
 public:
  virtual ~Operation() = default;
  // Moves what can be moved without blocking; true when complete. Throwing fails the operation. A failed
  // operation is kept alive until the communicator is gone, or for ever if the backend may read its bytes
  // even after that (MPI).
  virtual bool advance(Communicator& communicator, std::uint64_t id) = 0;
  virtual std::optional<Clock::time_point> next_event() const { return std::nullopt; }
  // True while the operation waits for what may never come. The thread then looks every 20 ms and sleeps in
  // between if nothing else is in flight, and stop() does not wait for it.
  virtual bool is_standing() const { return false; }
};

constexpr std::uint64_t kExchangesPerOperation = std::uint64_t{1} << 20;
constexpr std::uint64_t exchange_sequence(std::uint64_t id, std::uint64_t number) {
  return id * kExchangesPerOperation + number;
}

// A submitted operation, shared by the submitter and the engine. Copies stand for the same operation; any
// thread may use one. A default ticket stands for none and must not be asked (std::logic_error).
class Ticket {
 public:
  bool done() const;  // also true when it failed
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
  // Stops and joins. If destroyed while an exception unwinds the stack, it first tells the peers that this
  // rank has failed.
  ~ProgressEngine();
  ProgressEngine(const ProgressEngine&) = delete;
  ProgressEngine& operator=(const ProgressEngine&) = delete;

  // Returns when the communicator exists; throws what making it threw. Nothing if it runs already;
  // std::logic_error after stop(): a world is joined once.
  void start();
  // Ends what is in flight, or fails it with kClosed if it stands still, and destroys the communicator.
  void stop();

  // This rank cannot go on: its peers hear `why` when the engine is stopped, which then waits for nothing.
  void fail(const std::string& why);

  // Of the started engine.
  int rank() const;
  int size() const;

  // The engine keeps the operation alive until the ticket is done. Throws CommError kClosed if the engine
  // does not run.
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
