// Models make their layers through a LinearFactory, so that a task decides what each layer is and a model
// knows no method. No LibTorch: who only passes a factory on needs no layer.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace thinwire::quant {

class Linear;

// name: the layer's full path in the model, e.g. "blocks.3.attention.q". in, out: features.
using LinearFactory =
    std::function<std::shared_ptr<Linear>(const std::string& name, std::int64_t in, std::int64_t out)>;

}  // namespace thinwire::quant
