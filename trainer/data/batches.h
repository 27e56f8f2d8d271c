// Training and evaluation batches from text: sources are split into a training and a held-out part, tokenised
// once (cache on disk), sharded over the workers, and read in an order that is a function of (seed, worker,
// position) alone. Text and tokens stay on the disk: of a text in windows of `sequence` tokens a worker keeps
// four bytes a window, the order of its epoch.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "trainer/core/tensors.h"
#include "trainer/data/corpus.h"
#include "trainer/data/evaluation_text.h"
#include "trainer/options/data_options.h"
#include "trainer/state.h"

namespace thinwire::trainer {

class Tokenizer;

class Batches {
 public:
  virtual ~Batches() = default;
  // The next batch of `sequences` windows of this worker's shard.
  virtual Batch next(std::int64_t sequences) = 0;
  // This worker's share of the held-out text, in batches of `sequences` windows. With data.shards = "even"
  // the held-out texts follow each other as one, of which every worker takes each n-th batch; with
  // "by_source" each is its own, and a worker takes those of its sources.
  virtual EvaluationText held_out(std::int64_t sequences) const = 0;
  virtual std::int64_t train_tokens() const = 0;

  virtual State state() const = 0;
  // Throws std::runtime_error that names what differs if the state is of other text.
  virtual void load(const State& state) = 0;
};

// sources: from open_sources of the same options and shard, read, with the hashes of those that only other
// workers read. cache_dir: where the token cache lives (created). Throws std::runtime_error as
// tokenize_cached, or says how many tokens there are and how many one sequence needs.
std::unique_ptr<Batches> make_batches(const DataOptions& options, const Tokenizer& tokenizer,
                                      const DataShard& shard, const std::vector<Source>& sources,
                                      const std::string& cache_dir, const TextWatch& watch = {});
// The same after opening and reading the sources, all of which must be this worker's.
std::unique_ptr<Batches> make_batches(const DataOptions& options, const Tokenizer& tokenizer,
                                      const DataShard& shard, const std::string& cache_dir,
                                      const TextWatch& watch = {});

}  // namespace thinwire::trainer
