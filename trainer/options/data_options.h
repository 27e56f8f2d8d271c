// [data]: the text and its tokens.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace thinwire::trainer {

struct DataOptions {
  std::vector<std::string> path;    // files or folders
  std::string tokenizer = "bytes";  // bytes, bpe, or a SentencePiece model file
  std::int64_t vocab_size = 1024;   // of a trained bpe
  std::string shards = "even";      // even, by_source
  double held_out = 0.02;           // share of the text kept for evaluation
  std::int64_t sequence = 128;      // tokens per training sequence
};

}  // namespace thinwire::trainer
