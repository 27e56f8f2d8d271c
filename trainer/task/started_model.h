// The model that a task starts with.
#pragma once

#include <memory>

#include "quant/nn/linear_factory.h"

namespace thinwire::trainer {

class LanguageModel;
struct Options;

// A model of `layers`: with the sizes and float weights of options.model.from where that is given (a low-bit
// layer of it gives its latent weight, else what it multiplies by), else with options.model's sizes and
// weights of run.seed. Throws std::invalid_argument if model.from has a smaller vocabulary than asked for,
// and as load_model and make_model.
std::shared_ptr<LanguageModel> make_started_model(const Options& options, const quant::LinearFactory& layers);

}  // namespace thinwire::trainer
