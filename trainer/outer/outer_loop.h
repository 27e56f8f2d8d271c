// The outer loop: how workers that train alone keep one model. It knows tensors as fragments of one flat span
// and a mean over workers; not tasks, methods of quantisation, links, backends, or who decides a commit's
// set.
//
// Source: DiLoCo 2311.08105; Streaming DiLoCo 2501.18512, algorithm 2. The unit is the commit: (step,
// fragment, contributors) with the payloads fixes the new agreed copy, the same bits on every worker.
//
//   loop.reduce_gradients(t);   // after the backward pass of step t, before clipping (ddp works here)
//   optimizer.step();           // neither of the two for a step that is skipped
//   loop.after_step(t);         // sends the fragments due at t, applies those sent at t - overlap
//   ...
//   loop.finish(t);             // after the last step: applies all in flight, syncs what has drifted since
//   loop.with_agreed([&] { ... evaluate, export ... });
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "comm/progress_engine.h"
#include "trainer/options/outer_options.h"
#include "trainer/outer/flat_parameters.h"
#include "trainer/state.h"

namespace thinwire::quant {
class Codec;
}

namespace thinwire::trainer {

// One applied commit, for commits.jsonl and the metrics.
struct CommitRecord {
  std::int64_t step = 0;  // at which it was applied
  std::int64_t sent_step = 0;
  std::int64_t fragment = 0;
  std::vector<double> weights;   // of the contributors, by rank
  std::uint64_t wire_bytes = 0;  // sent by this worker
  double late_seconds = 0;       // spent waiting at the apply; ddp's includes the time to code
  double delta_norm = 0;         // of this worker's outer gradient as the others saw it
  double mean_norm = 0;          // of the mean
  double cosine = 0;             // between the two; 0 if one of them is zero
  std::int64_t clamped = 0;      // values of the new agreed copy that were brought back to their least
  std::string digest;            // XXH3-128 of the fragment's (G, V) after the commit
};

using NamedViews = std::vector<std::pair<std::string, at::Tensor>>;

class OuterLoop {
 public:
  virtual ~OuterLoop() = default;

  virtual void reduce_gradients(std::int64_t /*step*/) {}
  // True if reduce_gradients() is an exchange: a step is then skipped by all workers or by none.
  virtual bool reduces_gradients() const { return false; }
  virtual void after_step(std::int64_t step) = 0;
  virtual void finish(std::int64_t step) = 0;

  // Runs body with the agreed copy in the parameters' place.
  virtual void with_agreed(const std::function<void()>& body) = 0;

  // The agreed copy of every travelling tensor, by name; views, valid until the next step.
  virtual NamedViews agreed() = 0;
  // False if the workers share nothing (none): their digests may differ.
  virtual bool agrees() const { return true; }

  // XXH3-128 in hex over (G, V), the agreed copy and its momentum, of all fragments in order; over theta, the
  // live parameters, where nothing else is agreed.
  virtual std::string digest() const = 0;

  virtual State state() const = 0;
  // Restores all but the live parameters, which the caller restores first, and sends again what was in
  // flight.
  virtual void load(const State& state) = 0;

  // Commits applied since the last call.
  std::vector<CommitRecord> take_commits();
  // Time that the training thread has spent in this object: encoding, waiting, applying.
  double busy_seconds() const { return busy_seconds_; }

 protected:
  std::vector<CommitRecord> commits_;
  double busy_seconds_ = 0;
};

// Adds the time of its scope to a counter.
class BusyTimer {
 public:
  explicit BusyTimer(double& seconds) : seconds_(seconds), begin_(comm::Clock::now()) {}
  ~BusyTimer() { seconds_ += comm::seconds_of(comm::Clock::now() - begin_); }
  BusyTimer(const BusyTimer&) = delete;
  BusyTimer& operator=(const BusyTimer&) = delete;

 private:
  double& seconds_;
  const comm::Clock::time_point begin_;
};

// What an outer loop is made from. engine must outlive it.
struct OuterContext {
  OuterOptions options;
  std::uint64_t seed = 0;
  std::int64_t total_steps = 0;
  comm::ProgressEngine* engine = nullptr;
};

// Methods register in trainer/outer/registry.cpp, a line each.
// Throws std::invalid_argument for an unknown method or a setting that does not fit the model.
std::unique_ptr<OuterLoop> make_outer_loop(const OuterContext& context,
                                           std::vector<TrainedTensor> travelling);

// The codec that options ask for, and the one of the fragment of embeddings, head and final norm.
std::unique_ptr<quant::Codec> make_wire_codec(const OuterOptions& options);
std::unique_ptr<quant::Codec> make_embeddings_codec(const OuterOptions& options);

}  // namespace thinwire::trainer
