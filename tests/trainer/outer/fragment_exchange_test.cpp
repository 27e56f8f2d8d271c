// The mean for a caller who waits, coded a segment at a time, beside payloads coded at once and decoded one
// after the other.
#include "trainer/outer/fragment_exchange.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>

#include <cmath>

#include "quant/kernel/outer_ops.h"
#include "tests/comm/world.h"
#include "tests/quant/codec_case.h"
#include "tests/quant/sample_values.h"

namespace thinwire::trainer {
namespace {

using quant::testing::bits_of;
using quant::testing::normal_values;

constexpr std::size_t kValues = 600'001;  // a few segments
constexpr std::uint64_t kSeed = 11;

std::vector<float> values_of(int worker, std::int64_t step) {
  return normal_values(kValues, 100 * step + worker, 0.01f);
}

// What the workers should send and hold after each step.
class Reference {
 public:
  struct Step {
    std::vector<float> mean;
    std::vector<double> own_norms;  // of the payloads, by worker
  };

  Reference(const OuterOptions& options, int workers)
      : codec_(make_wire_codec(options)), with_feedback_(options.error_feedback) {
    for (int w = 0; w < workers; ++w)
      feedback_.emplace_back(*codec_, kValues, static_cast<float>(options.decay));
  }

  Step take(std::int64_t step) {
    Step result;
    std::vector<float> sum, own(kValues);
    std::vector<std::byte> payload(codec_->encoded_bytes(kValues));
    for (std::size_t w = 0; w < feedback_.size(); ++w) {
      std::vector<float> values = values_of(static_cast<int>(w), step);
      const std::uint64_t key = quant::stream_key(
          {.seed = kSeed, .step = static_cast<std::uint64_t>(step), .worker = static_cast<std::uint32_t>(w)});
      with_feedback_ ? feedback_[w].encode(values, key, payload) : codec_->encode(values, key, payload);
      codec_->decode(payload, own);
      if (w == 0)
        sum = own;
      else
        quant::add_in_place(sum, own);
      double square = 0;
      for (const float value : own) square += static_cast<double>(value) * value;
      result.own_norms.push_back(std::sqrt(square));
    }
    quant::divide_in_place(sum, static_cast<float>(feedback_.size()));
    result.mean = std::move(sum);
    return result;
  }

  std::span<const float> residual(int worker) const { return feedback_[worker].residual(); }

 private:
  std::unique_ptr<quant::Codec> codec_;
  bool with_feedback_;
  std::vector<quant::ErrorFeedback> feedback_;
};

// The reduce leg rounds the mean once more, unless the codec does not round: then only what is sent is known.
void expect_what_whole_payloads_give(const OuterOptions& options, int workers) {
  constexpr int kSteps = 3;
  Reference reference(options, workers);
  std::vector<Reference::Step> expected;
  for (std::int64_t step = 1; step <= kSteps; ++step) expected.push_back(reference.take(step));
  std::vector<std::vector<float>> last(workers);
  comm::run_engines(workers, [&](comm::ProgressEngine& engine) {
    const int rank = engine.rank();
    FragmentExchange exchange({.options = options, .seed = kSeed, .engine = &engine},
                              make_wire_codec(options), 0, kValues, [](std::size_t) { return "a value"; });
    for (std::int64_t step = 1; step <= kSteps; ++step) {
      const Reference::Step& right = expected[step - 1];
      std::vector<float> values = values_of(rank, step);
      const CommitRecord record = exchange.reduce(step, values, 5);
      EXPECT_FALSE(exchange.in_flight());
      EXPECT_EQ(record.sent_step, step);
      EXPECT_NEAR(record.delta_norm, right.own_norms[rank], 1e-9 * right.own_norms[rank]);
      if (options.leg != "reduce") {
        ASSERT_EQ(bits_of(values), bits_of(right.mean)) << options.codec << " at step " << step;
      }
      last[rank] = std::move(values);
    }
    if (!options.error_feedback) return;
    const at::Tensor residual = exchange.state().tensors.at("residual");
    ASSERT_EQ(bits_of({residual.const_data_ptr<float>(), kValues}), bits_of(reference.residual(rank)))
        << options.codec;
  });
  for (int w = 1; w < workers; ++w) EXPECT_EQ(bits_of(last[0]), bits_of(last[w])) << options.codec;
}

OuterOptions options_of(const std::string& codec, const std::string& leg,
                        const std::string& rounding = "nearest") {
  OuterOptions options;
  options.codec = codec;
  options.rounding = rounding;
  options.error_feedback = codec != "fp32";
  options.decay = 0.9;
  options.leg = leg;
  return options;
}

TEST(FragmentExchange, ReducesToWhatWholePayloadsGive) {
  for (const int workers : {1, 2, 3})
    for (const OuterOptions& options :
         {options_of("fp32", "auto"), options_of("int8", "gather"), options_of("int8", "reduce"),
          options_of("e3m0", "gather"), options_of("int2", "gather", "stochastic"),
          options_of("int2", "reduce", "stochastic"), options_of("topk", "gather")})
      expect_what_whole_payloads_give(options, workers);
}

}  // namespace
}  // namespace thinwire::trainer
