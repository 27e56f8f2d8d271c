// The real model beside the project: stories260K.bin and tok512.bin in llama2.c's layout.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <string>

#include "tests/trainer/model/tiny_model.h"
#include "trainer/data/tokenizer.h"

namespace thinwire::test {

inline std::string read_whole(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// bytes: 7 int32 (width, mlp width, layers, heads, kv heads, vocab, context), then float32 matrices, kind by
// kind.
inline std::shared_ptr<trainer::LanguageModel> stories_model(const std::string& bytes) {
  std::int32_t header[7];
  std::memcpy(header, bytes.data(), sizeof header);
  trainer::ModelOptions sizes;
  sizes.width = header[0];
  sizes.mlp_width = header[1];
  sizes.layers = header[2];
  sizes.heads = header[3];
  sizes.kv_heads = header[4];
  sizes.vocab = header[5];
  sizes.context = header[6];
  const auto model = float_model(sizes);
  auto parameters = model->named_parameters();
  const at::NoGradGuard no_grad;
  const char* next = bytes.data() + sizeof header;
  const auto fill = [&](const std::string& name) {
    at::Tensor& weight = parameters[name];
    std::memcpy(weight.data_ptr(), next, weight.nbytes());
    next += weight.nbytes();
  };
  fill("embedding.weight");
  for (const char* part : {"attention_norm", "attention.q", "attention.k", "attention.v", "attention.o",
                           "mlp_norm", "mlp.gate", "mlp.down", "mlp.up"}) {
    for (std::int64_t n = 0; n < sizes.layers; ++n)
      fill("blocks." + std::to_string(n) + "." + part + ".weight");
  }
  fill("norm.weight");
  return model;
}

// llama2.c's tokenizer: greedy merges by score after a begin token (1) and a space.
class StoriesTokenizer final : public trainer::Tokenizer {
 public:
  // bytes: int32 longest piece; per piece a float score, an int32 length and its bytes.
  explicit StoriesTokenizer(const std::string& bytes) {
    const char* next = bytes.data() + 4;
    const char* end = bytes.data() + bytes.size();
    while (next + 8 <= end) {
      float score;
      std::int32_t length;
      std::memcpy(&score, next, 4);
      std::memcpy(&length, next + 4, 4);
      ids_.emplace(std::string(next + 8, static_cast<std::size_t>(length)), pieces_.size());
      pieces_.emplace_back(next + 8, static_cast<std::size_t>(length));
      scores_.push_back(score);
      next += 8 + length;
    }
  }

  std::int64_t vocab_size() const override { return static_cast<std::int64_t>(pieces_.size()); }

  std::vector<std::int32_t> encode(std::string_view text) const override {
    std::vector<std::int32_t> tokens = {1};
    for (const char c : " " + std::string(text)) {
      const auto it = ids_.find(std::string(1, c));
      tokens.push_back(it != ids_.end() ? static_cast<std::int32_t>(it->second)
                                        : static_cast<unsigned char>(c) + 3);
    }
    while (merge_best(tokens)) {
    }
    return tokens;
  }

  std::string decode(std::span<const std::int32_t> tokens) const override {
    std::string text;
    for (const std::int32_t token : tokens) {
      const std::string& piece = pieces_[static_cast<std::size_t>(token)];
      text += piece.starts_with("<0x") ? std::string(1, static_cast<char>(token - 3)) : piece;
    }
    return text;
  }

  std::string to_bytes() const override { return {}; }

 private:
  bool merge_best(std::vector<std::int32_t>& tokens) const {
    std::size_t best = tokens.size(), best_id = 0;
    for (std::size_t i = 1; i + 1 < tokens.size(); ++i) {
      const auto it = ids_.find(pieces_[tokens[i]] + pieces_[tokens[i + 1]]);
      if (it == ids_.end()) continue;
      if (best == tokens.size() || scores_[it->second] > scores_[best_id]) best = i, best_id = it->second;
    }
    if (best == tokens.size()) return false;
    tokens[best] = static_cast<std::int32_t>(best_id);
    tokens.erase(tokens.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    return true;
  }

  std::vector<std::string> pieces_;
  std::vector<float> scores_;
  std::map<std::string, std::size_t> ids_;
};

}  // namespace thinwire::test
