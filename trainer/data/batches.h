// Training and evaluation batches from text: sources are split into a training and a held-out part, tokenised
// once (cache on disk), sharded over the workers, and read in an order that is a function of (seed, worker,
// position) alone.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "trainer/data/tokenizer.h"
#include "trainer/options.h"
#include "trainer/state.h"
#include "trainer/task/task.h"

namespace thinwire::trainer {

struct DataShard {
  int worker = 0;
  int workers = 1;
  std::uint64_t seed = 0;
};

class Batches {
 public:
  virtual ~Batches() = default;
  // The next batch of `sequences` windows of this worker's shard.
  virtual Batch next(std::int64_t sequences) = 0;
  // Held-out text in order, the same on every worker, in batches of `sequences` windows, tokens each counted
  // once.
  virtual std::vector<Batch> held_out(std::int64_t sequences) const = 0;
  // Bytes of text per token of the held-out part: nats per token / (ln 2 * this) = bits per byte.
  virtual double held_out_bytes_per_token() const = 0;
  virtual std::int64_t train_tokens() const = 0;

  virtual State state() const = 0;
  virtual void load(const State& state) = 0;
};

// cache_dir: where the token cache lives (created). Throws std::runtime_error that names the missing or empty
// path, or says how many tokens there are and how many one sequence needs.
std::unique_ptr<Batches> make_batches(const DataOptions& options, const Tokenizer& tokenizer,
                                      const DataShard& shard, const std::string& cache_dir);

}  // namespace thinwire::trainer
