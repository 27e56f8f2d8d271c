#include "trainer/data/batches.h"

#include <torch/torch.h>

#include <algorithm>
#include <stdexcept>

#include "trainer/data/token_cache.h"
#include "trainer/data/window_order.h"

namespace thinwire::trainer {
namespace {

// A window: `length` + 1 tokens in a row; all but the last are read, all but the first are targets.
using Window = const std::int32_t*;

Batch make_batch(const std::vector<Window>& windows, std::int64_t length) {
  const auto count = static_cast<std::int64_t>(windows.size());
  Batch batch{at::empty({count, length}, at::kLong), at::empty({count, length}, at::kLong)};
  std::int64_t* tokens = batch.tokens.data_ptr<std::int64_t>();
  std::int64_t* targets = batch.targets.data_ptr<std::int64_t>();
  for (const Window window : windows) {
    tokens = std::copy(window, window + length, tokens);
    targets = std::copy(window + 1, window + length + 1, targets);
  }
  return batch;
}

// Windows follow each other by `length`, so that every token but a source's first is a target once; what is
// left at a source's end is not used.
void add_windows(const std::vector<std::int32_t>& tokens, std::int64_t length, std::vector<Window>& windows) {
  const auto size = static_cast<std::int64_t>(tokens.size());
  for (std::int64_t start = 0; start + length + 1 <= size; start += length)
    windows.push_back(tokens.data() + start);
}

std::vector<Window> shard_evenly(const TokenizedCorpus& corpus, const DataShard& shard, std::int64_t length) {
  std::vector<Window> all, mine;
  for (const auto& tokens : corpus.train) add_windows(tokens, length, all);
  const auto stride = static_cast<std::size_t>(shard.workers);
  for (auto i = static_cast<std::size_t>(shard.worker); i < all.size(); i += stride) mine.push_back(all[i]);
  return mine;
}

std::vector<Window> shard_by_source(const TokenizedCorpus& corpus, const DataShard& shard,
                                    std::int64_t length) {
  const auto workers = static_cast<std::size_t>(shard.workers);
  if (corpus.train.size() < workers) {
    throw std::runtime_error("data.shards = \"by_source\": expected a source for each of " +
                             std::to_string(workers) + " workers, found " +
                             std::to_string(corpus.train.size()) +
                             " in data.path; name more sources or start fewer workers");
  }
  std::vector<Window> mine;
  for (auto s = static_cast<std::size_t>(shard.worker); s < corpus.train.size(); s += workers) {
    add_windows(corpus.train[s], length, mine);
  }
  return mine;
}

std::vector<Window> shard_windows(const DataOptions& options, const TokenizedCorpus& corpus,
                                  const DataShard& shard) {
  std::vector<Window> windows;
  if (options.shards == "even") {
    windows = shard_evenly(corpus, shard, options.sequence);
  } else if (options.shards == "by_source") {
    windows = shard_by_source(corpus, shard, options.sequence);
  } else {
    throw std::invalid_argument("data.shards: expected even or by_source, found '" + options.shards + "'");
  }
  if (windows.empty()) {
    std::size_t tokens = 0;
    for (const auto& source : corpus.train) tokens += source.size();
    throw std::runtime_error("[data] worker " + std::to_string(shard.worker) + " of " +
                             std::to_string(shard.workers) + " has no training sequence: a sequence needs " +
                             std::to_string(options.sequence + 1) +
                             " tokens, the training text of all workers has " + std::to_string(tokens) +
                             "; add text, or lower data.sequence or the number of workers");
  }
  return windows;
}

class TextBatches final : public Batches {
 public:
  TextBatches(const DataOptions& options, const DataShard& shard, TokenizedCorpus corpus)
      : length_(options.sequence),
        corpus_(std::move(corpus)),
        windows_(shard_windows(options, corpus_, shard)),
        order_(shard.seed, shard.worker, static_cast<std::int64_t>(windows_.size())) {}

  Batch next(std::int64_t sequences) override {
    std::vector<Window> chosen;
    for (std::int64_t s = 0; s < sequences; ++s)
      chosen.push_back(windows_[static_cast<std::size_t>(order_.next())]);
    return make_batch(chosen, length_);
  }

  std::vector<Batch> held_out(std::int64_t sequences) const override {
    std::vector<Window> windows;
    add_windows(corpus_.held_out, length_, windows);
    std::vector<Batch> batches;
    for (std::size_t i = 0; i < windows.size(); i += static_cast<std::size_t>(sequences)) {
      const std::size_t end = std::min(windows.size(), i + static_cast<std::size_t>(sequences));
      batches.push_back(make_batch({windows.begin() + static_cast<std::ptrdiff_t>(i),
                                    windows.begin() + static_cast<std::ptrdiff_t>(end)},
                                   length_));
    }
    const auto used = static_cast<std::int64_t>(windows.size()) * length_;
    const std::int64_t rest = static_cast<std::int64_t>(corpus_.held_out.size()) - 1 - used;
    if (rest > 0) batches.push_back(make_batch({corpus_.held_out.data() + used}, rest));
    return batches;
  }

  double held_out_bytes_per_token() const override {
    if (corpus_.held_out.empty()) return 0;
    return static_cast<double>(corpus_.held_out_bytes) / static_cast<double>(corpus_.held_out.size());
  }

  std::int64_t train_tokens() const override { return static_cast<std::int64_t>(windows_.size()) * length_; }

  State state() const override {
    State state;
    state.meta = {{"corpus", corpus_.key},
                  {"windows", windows_.size()},
                  {"epoch", order_.position().epoch},
                  {"index", order_.position().index}};
    return state;
  }

  void load(const State& state) override {
    const auto corpus = state.meta.at("corpus").get<std::string>();
    const auto windows = state.meta.at("windows").get<std::size_t>();
    const WindowOrder::Position position{state.meta.at("epoch"), state.meta.at("index")};
    if (corpus != corpus_.key || windows != windows_.size()) {
      throw std::runtime_error("[data] the checkpoint was made with other data: expected corpus " + corpus +
                               " in " + std::to_string(windows) + " sequences, found " + corpus_.key +
                               " in " + std::to_string(windows_.size()) +
                               "; put the same text under data.path again");
    }
    if (position.epoch < 0 || position.index < 0 || position.index > static_cast<std::int64_t>(windows)) {
      throw std::runtime_error("[data] the checkpoint's position " + std::to_string(position.index) +
                               " is not in 0.." + std::to_string(windows));
    }
    order_.seek(position);
  }

 private:
  std::int64_t length_;
  const TokenizedCorpus corpus_;
  const std::vector<Window> windows_;  // of this worker's shard, into corpus_
  WindowOrder order_;
};

}  // namespace

std::unique_ptr<Batches> make_batches(const DataOptions& options, const Tokenizer& tokenizer,
                                      const DataShard& shard, const std::string& cache_dir) {
  if (options.sequence <= 0) {
    throw std::invalid_argument("data.sequence: expected at least 1, found " +
                                std::to_string(options.sequence));
  }
  TokenizedCorpus corpus =
      tokenize_cached(read_sources(options.path), tokenizer, options.held_out, cache_dir);
  if (options.held_out > 0 && corpus.held_out.size() < 2) {
    throw std::runtime_error(
        "[data] the held-out text has " + std::to_string(corpus.held_out.size()) +
        " tokens, evaluation needs 2; add text, or set data.held_out to 0 or to a larger share");
  }
  return std::make_unique<TextBatches>(options, shard, std::move(corpus));
}

}  // namespace thinwire::trainer
