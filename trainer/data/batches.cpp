#include "trainer/data/batches.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <stdexcept>

#include "trainer/data/token_cache.h"
#include "trainer/data/tokenizer.h"
#include "trainer/data/window_order.h"

namespace thinwire::trainer {
namespace {

// Windows of `length` + 1 tokens that follow each other by `length`, so that every token but a source's first
// is a target once; what is left at a source's end is not used. Of all windows, in the order of the sources,
// these are every stride-th from `first` on.
class Windows {
 public:
  Windows(std::vector<TokenStream> sources, std::int64_t length, std::int64_t first, std::int64_t stride)
      : sources_(std::move(sources)), length_(length), first_(first), stride_(stride) {
    std::int64_t all = 0;
    for (const TokenStream& source : sources_) {
      all += std::max<std::int64_t>(0, static_cast<std::int64_t>(source.size()) - 1) / length_;
      ends_.push_back(all);
    }
    size_ = all > first_ ? (all - first_ + stride_ - 1) / stride_ : 0;
  }

  std::int64_t size() const { return size_; }

  void read(std::int64_t i, std::span<std::int64_t> into) const {
    const std::int64_t window = first_ + i * stride_;
    const auto source = std::upper_bound(ends_.begin(), ends_.end(), window) - ends_.begin();
    const std::int64_t before = source == 0 ? 0 : ends_[static_cast<std::size_t>(source) - 1];
    sources_[static_cast<std::size_t>(source)].read(static_cast<std::uint64_t>((window - before) * length_),
                                                    into);
  }

 private:
  std::vector<TokenStream> sources_;
  std::vector<std::int64_t> ends_;  // windows up to and with each source
  std::int64_t length_, first_, stride_, size_;
};

std::uint64_t tokens_of(const std::vector<TokenStream>& streams) {
  std::uint64_t tokens = 0;
  for (const TokenStream& stream : streams) tokens += stream.size();
  return tokens;
}

// In the longest text that is evaluated as one.
std::uint64_t held_out_tokens(const DataOptions& options, const TokenizedCorpus& corpus) {
  if (options.shards == "even") return tokens_of(corpus.held_out);
  std::uint64_t most = 0;
  for (const TokenStream& source : corpus.held_out) most = std::max(most, source.size());
  return most;
}

// Of what this worker reads: with "by_source" the corpus has no other sources.
Windows shard_windows(const DataOptions& options, const TokenizedCorpus& corpus, const DataShard& shard) {
  const bool even = options.shards == "even";
  Windows windows(corpus.train, options.sequence, even ? shard.worker : 0, even ? shard.workers : 1);
  if (windows.size() > 0) return windows;
  throw std::runtime_error("[data] worker " + std::to_string(shard.worker) + " of " +
                           std::to_string(shard.workers) + " has no training sequence: a sequence needs " +
                           std::to_string(options.sequence + 1) + " tokens, the training text of " +
                           (even ? "all workers" : "its sources") + " has " +
                           std::to_string(tokens_of(corpus.train)) +
                           "; add text, or lower data.sequence or the number of workers");
}

class TextBatches final : public Batches {
 public:
  TextBatches(const DataOptions& options, const DataShard& shard, TokenizedCorpus corpus, std::string key,
              const std::vector<Source>& sources)
      : length_(options.sequence),
        even_(options.shards == "even"),
        shard_(shard),
        corpus_(std::move(corpus)),
        key_(std::move(key)),
        windows_(shard_windows(options, corpus_, shard)),
        order_(shard.seed, shard.worker, windows_.size()) {
    for (const Source& source : sources) {
      paths_.push_back(source.path);
      texts_.push_back({{"bytes", source.bytes}, {"xxh3_128", source.hash}});
    }
  }

  Batch next(std::int64_t sequences) override {
    Batch batch{at::empty({sequences, length_}, at::kLong), at::empty({sequences, length_}, at::kLong)};
    std::vector<std::int64_t> window(static_cast<std::size_t>(length_) + 1);
    for (std::int64_t s = 0; s < sequences; ++s) {
      windows_.read(order_.next(), window);
      std::copy(window.begin(), window.end() - 1, batch.tokens.data_ptr<std::int64_t>() + s * length_);
      std::copy(window.begin() + 1, window.end(), batch.targets.data_ptr<std::int64_t>() + s * length_);
    }
    return batch;
  }

  EvaluationText held_out(std::int64_t sequences) const override {
    return even_ ? every_nth_batch(sequences) : own_sources(sequences);
  }

  std::int64_t train_tokens() const override { return windows_.size() * length_; }

  State state() const override {
    State state;
    state.meta = {{"corpus", key_},
                  {"texts", texts_},
                  {"windows", windows_.size()},
                  {"epoch", order_.position().epoch},
                  {"index", order_.position().index}};
    return state;
  }

  void load(const State& state) override {
    const auto corpus = state.meta.at("corpus").get<std::string>();
    const auto windows = state.meta.at("windows").get<std::int64_t>();
    const WindowOrder::Position position{state.meta.at("epoch"), state.meta.at("index")};
    if (corpus != key_ || windows != windows_.size()) {
      throw std::runtime_error("[data] the checkpoint was made with other data: " +
                               difference(state.meta.value("texts", nlohmann::json::array())) +
                               "expected corpus " + corpus + " in " + std::to_string(windows) +
                               " sequences, found " + key_ + " in " + std::to_string(windows_.size()) +
                               "; put the same text under data.path again");
    }
    if (position.epoch < 0 || position.index < 0 || position.index > windows) {
      throw std::runtime_error("[data] the checkpoint's position " + std::to_string(position.index) +
                               " is not in 0.." + std::to_string(windows));
    }
    order_.seek(position);
  }

 private:
  // The first source that is not what it was: "data.path 'x' had 10 bytes, has 12; ".
  std::string difference(const nlohmann::json& before) const {
    if (before.empty()) return {};
    if (before.size() != texts_.size()) {
      return "data.path had " + std::to_string(before.size()) + " entries, has " +
             std::to_string(texts_.size()) + "; ";
    }
    for (std::size_t s = 0; s < texts_.size(); ++s) {
      if (before[s] == texts_[s]) continue;
      return "data.path '" + paths_[s] + "' had " + text_of(before[s]) + ", has " + text_of(texts_[s]) + "; ";
    }
    return {};
  }
  static std::string text_of(const nlohmann::json& text) {
    return std::to_string(text.at("bytes").get<std::uint64_t>()) + " bytes of digest " +
           text.at("xxh3_128").get<std::string>();
  }

  EvaluationText every_nth_batch(std::int64_t sequences) const {
    TokenStream all;
    EvaluationText text;
    for (const TokenStream& stream : corpus_.held_out) all.append(stream);
    if (shard_.worker == 0) {
      text.tokens = all.size();
      for (const std::uint64_t bytes : corpus_.held_out_bytes) text.bytes += bytes;
    }
    const StreamBatches batches(all, length_, sequences);
    const auto rank = static_cast<std::size_t>(shard_.worker);
    const auto workers = static_cast<std::size_t>(shard_.workers);
    text.size = batches.size() > rank ? (batches.size() - rank + workers - 1) / workers : 0;
    text.groups.assign(text.size, 1);
    text.batch = [batches, rank, workers](std::size_t i) { return batches.at(rank + i * workers); };
    return text;
  }

  EvaluationText own_sources(std::int64_t sequences) const {
    std::vector<StreamBatches> sources;
    EvaluationText text;
    for (std::size_t s = 0; s < corpus_.held_out.size(); ++s) {
      const StreamBatches& source = sources.emplace_back(corpus_.held_out[s], length_, sequences);
      text.groups.push_back(source.size());
      text.size += source.size();
      text.tokens += corpus_.held_out[s].size();
      text.bytes += corpus_.held_out_bytes[s];
    }
    text.batch = [sources](std::size_t i) { return batch_of(sources, i); };
    return text;
  }

  std::int64_t length_;
  bool even_;
  DataShard shard_;
  const TokenizedCorpus corpus_;
  const std::string key_;  // of all sources
  const Windows windows_;  // of this worker's shard
  WindowOrder order_;
  std::vector<std::string> paths_;
  nlohmann::json texts_ = nlohmann::json::array();  // what the sources are, for a message on resume
};

}  // namespace

std::unique_ptr<Batches> make_batches(const DataOptions& options, const Tokenizer& tokenizer,
                                      const DataShard& shard, const std::vector<Source>& sources,
                                      const std::string& cache_dir, const TextWatch& watch) {
  if (options.sequence <= 0) {
    throw std::invalid_argument("data.sequence: expected at least 1, found " +
                                std::to_string(options.sequence));
  }
  std::vector<Source> mine;
  std::copy_if(sources.begin(), sources.end(), std::back_inserter(mine),
               [](const Source& source) { return source.text != nullptr; });
  TokenizedCorpus corpus = tokenize_cached(mine, tokenizer, options.held_out, cache_dir, watch);
  if (const std::uint64_t tokens = held_out_tokens(options, corpus); options.held_out > 0 && tokens < 2) {
    throw std::runtime_error(
        "[data] the held-out text has " + std::to_string(tokens) +
        " tokens, evaluation needs 2; add text, or set data.held_out to 0 or to a larger share");
  }
  return std::make_unique<TextBatches>(options, shard, std::move(corpus),
                                       corpus_key(sources, tokenizer, options.held_out), sources);
}

std::unique_ptr<Batches> make_batches(const DataOptions& options, const Tokenizer& tokenizer,
                                      const DataShard& shard, const std::string& cache_dir,
                                      const TextWatch& watch) {
  std::vector<Source> sources = open_sources(options, shard);
  read_sources(sources, AcceptedText::kAny, watch);
  return make_batches(options, tokenizer, shard, sources, cache_dir, watch);
}

}  // namespace thinwire::trainer
