// [model]: what is trained.
#pragma once

#include <cstdint>
#include <string>

namespace thinwire::trainer {

struct ModelOptions {
  std::string arch = "llama";
  std::string from;  // a run or checkpoint of ours to start from; its sizes then apply
  std::int64_t layers = 4;
  std::int64_t width = 128;
  std::int64_t heads = 4;
  std::int64_t kv_heads = 0;   // 0: as many as heads
  std::int64_t mlp_width = 0;  // 0: 8/3 of width, rounded up to a multiple of 16
  std::int64_t context = 256;
  std::int64_t vocab = 0;  // 0: the tokenizer's
  bool tied = true;        // the head shares the embedding
};

}  // namespace thinwire::trainer
