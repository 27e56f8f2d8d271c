#include "quant/nn/lora_linear.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>

namespace thinwire::quant {
namespace {

// A matrix as a codec's payload.
struct PackedMatrix : torch::CustomClassHolder {
  PackedMatrix(std::shared_ptr<const Codec> its_codec, at::Tensor its_payload, std::int64_t its_rows,
               std::int64_t its_columns)
      : codec(std::move(its_codec)), payload(std::move(its_payload)), rows(its_rows), columns(its_columns) {}

  at::Tensor decode() const {
    const at::Tensor matrix = at::empty({rows, columns});
    codec->decode({reinterpret_cast<const std::byte*>(payload.const_data_ptr<std::uint8_t>()),
                   static_cast<std::size_t>(payload.numel())},
                  {matrix.data_ptr<float>(), static_cast<std::size_t>(matrix.numel())});
    return matrix;
  }

  std::shared_ptr<const Codec> codec;
  at::Tensor payload;  // uint8
  std::int64_t rows, columns;
};

// x W^T that keeps nothing but the payload for its backward pass.
class PackedProduct : public torch::autograd::Function<PackedProduct> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x,
                            const c10::intrusive_ptr<PackedMatrix>& packed) {
    context->saved_data["packed"] = c10::IValue::make_capsule(packed);
    return at::linear(x, packed->decode().to(x.scalar_type()));
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const auto packed =
        c10::static_intrusive_pointer_cast<PackedMatrix>(context->saved_data["packed"].toCapsule());
    if (!context->needs_input_grad(0)) return {{}, {}};
    return {at::matmul(gradients[0], packed->decode().to(gradients[0].scalar_type())), {}};
  }
};

}  // namespace

LoraLinear::LoraLinear(std::int64_t in, std::int64_t out, const LoraLinearOptions& options,
                       at::Generator generator)
    : options_(options),
      in_(in),
      out_(out),
      codec_(make_codec({.name = options.codec, .block = options.block})),
      base_(register_buffer(
          "base",
          at::zeros({static_cast<std::int64_t>(codec_->encoded_bytes(static_cast<std::size_t>(in * out)))},
                    at::kByte))) {
  TORCH_CHECK_VALUE(options.rank > 0, "a LoRA layer expects rank > 0, found ", options.rank);
  TORCH_CHECK_VALUE(options.dropout >= 0 && options.dropout < 1, "LoRA expects dropout in [0, 1), found ",
                    options.dropout);
  const double bound = 1 / std::sqrt(static_cast<double>(in));
  lora_a_ = register_parameter("lora_a",
                               at::empty({options.rank, in}).uniform_(-bound, bound, std::move(generator)));
  lora_b_ = register_parameter("lora_b", at::zeros({out, options.rank}));
  set_base(at::zeros({out, in}));
}

void LoraLinear::set_base(const at::Tensor& weight) {
  TORCH_CHECK(weight.dim() == 2 && weight.size(0) == out_ && weight.size(1) == in_, "set_base expects [",
              out_, ", ", in_, "], found ", weight.sizes());
  const at::Tensor values = weight.detach().to(at::kFloat).contiguous();
  codec_->encode({values.const_data_ptr<float>(), static_cast<std::size_t>(values.numel())}, /*key=*/0,
                 {reinterpret_cast<std::byte*>(base_.data_ptr<std::uint8_t>()),
                  static_cast<std::size_t>(base_.numel())});
}

at::Tensor LoraLinear::dropped(const at::Tensor& x) const {
  if (!is_training() || options_.dropout == 0) return x;
  TORCH_CHECK(dropout_generator_.defined(),
              "LoRA dropout has no generator; call set_dropout_generator first");
  const double keep = 1 - options_.dropout;
  return x *
         at::empty_like(x, x.options().requires_grad(false)).bernoulli_(keep, dropout_generator_).div_(keep);
}

at::Tensor LoraLinear::forward(const at::Tensor& x) {
  const auto packed = c10::make_intrusive<PackedMatrix>(codec_, base_, out_, in_);
  const at::Tensor adapted = at::linear(at::linear(dropped(x), lora_a_), lora_b_);
  return PackedProduct::apply(x, packed) + adapted * (options_.alpha / static_cast<double>(options_.rank));
}

at::Tensor LoraLinear::effective_weight() const {
  const at::Tensor base = PackedMatrix(codec_, base_, out_, in_).decode();
  const at::Tensor update = at::matmul(lora_b_.detach(), lora_a_.detach());
  return base + update * (options_.alpha / static_cast<double>(options_.rank));
}

std::vector<std::pair<std::string, at::Tensor>> LoraLinear::packed() const {
  return {{"base", base_}, {"lora_a", lora_a_.detach()}, {"lora_b", lora_b_.detach()}};
}

}  // namespace thinwire::quant
