// What tasks need of a causal language model. Models register in trainer/model/registry.cpp, a line each.
#pragma once

#include <torch/nn/module.h>

#include <memory>
#include <string>
#include <vector>

#include "quant/nn/linear_factory.h"
#include "trainer/options/model_options.h"

namespace thinwire::trainer {

struct ModelOutput {
  at::Tensor logits;               // float32 [B, T, vocab]
  std::vector<at::Tensor> hidden;  // if asked: after the embedding and after each block, [B, T, width]
};

class LanguageModel : public torch::nn::Module {
 public:
  // tokens: int64 [B, T], T <= context.
  virtual ModelOutput forward(const at::Tensor& tokens, bool want_hidden = false) = 0;
  virtual std::int64_t num_blocks() const = 0;
  virtual const ModelOptions& options() const = 0;  // resolved: no zeros left
};

// Parameter names say where a tensor lives: "blocks.N...." belongs to block N, all else to none.
// Returns N, or -1.
std::int64_t block_of(const std::string& parameter_name);

// options.vocab must be set. Initialises with a generator seeded by seed alone, so all workers start equal.
// Throws std::invalid_argument that names the known archs, or the size that does not fit.
std::shared_ptr<LanguageModel> make_model(const ModelOptions& options, const quant::LinearFactory& linear,
                                          std::uint64_t seed);

}  // namespace thinwire::trainer
