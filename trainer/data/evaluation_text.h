// Text to evaluate a model on, in batches that are made as they are asked for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "trainer/core/tensors.h"
#include "trainer/data/token_store.h"

namespace thinwire::trainer {

// The tokens of a stream in batches of up to `rows` windows of `length` tokens that follow each other, each
// token but the first once as a target; what is left at the end is one shorter window of its own.
class StreamBatches {
 public:
  StreamBatches(TokenStream tokens, std::int64_t length, std::int64_t rows);
  std::size_t size() const { return size_; }
  Batch at(std::size_t i) const;

 private:
  TokenStream tokens_;
  std::int64_t length_, rows_;
  std::int64_t windows_;  // whole ones
  std::size_t size_;
};

// The i-th batch of several texts, one text after the other.
Batch batch_of(const std::vector<StreamBatches>& texts, std::size_t i);

// What one worker evaluates.
struct EvaluationText {
  std::size_t size = 0;                     // batches
  std::function<Batch(std::size_t)> batch;  // the i-th of them
  // How many of the batches, in their order, form a group. Of all workers' groups the g-th ones come by rank,
  // then the g+1-th ones: so every batch has its place, whoever evaluates it.
  std::vector<std::size_t> groups;
  // Of the whole texts: a token has bytes / tokens bytes. A worker counts what no other one counts.
  std::uint64_t tokens = 0;
  std::uint64_t bytes = 0;
};

}  // namespace thinwire::trainer
