// The mean for a caller who waits, coded a segment at a time, beside payloads coded at once and decoded one
// after the other.
#include "trainer/outer/fragment_exchange.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

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

// What the workers should hold after each step.
class Reference {
 public:
  Reference(const OuterOptions& options, int workers)
      : codec_(make_wire_codec(options)), with_feedback_(options.error_feedback) {
    for (int w = 0; w < workers; ++w)
      feedback_.emplace_back(*codec_, kValues, static_cast<float>(options.decay));
  }

  std::vector<float> mean_at(std::int64_t step) {
    std::vector<float> sum(kValues);
    std::vector<std::byte> payload(codec_->encoded_bytes(kValues));
    for (std::size_t w = 0; w < feedback_.size(); ++w) {
      std::vector<float> values = values_of(static_cast<int>(w), step);
      const std::uint64_t key = quant::stream_key(
          {.seed = kSeed, .step = static_cast<std::uint64_t>(step), .worker = static_cast<std::uint32_t>(w)});
      with_feedback_ ? feedback_[w].encode(values, key, payload) : codec_->encode(values, key, payload);
      w == 0 ? codec_->decode(payload, sum) : codec_->decode_add(payload, sum);
    }
    quant::divide_in_place(sum, static_cast<float>(feedback_.size()));
    return sum;
  }

  std::span<const float> residual(int worker) const { return feedback_[worker].residual(); }

 private:
  std::unique_ptr<quant::Codec> codec_;
  bool with_feedback_;
  std::vector<quant::ErrorFeedback> feedback_;
};

void expect_the_mean_of_whole_payloads(const OuterOptions& options, int workers) {
  Reference reference(options, workers);
  std::vector<std::vector<float>> means;
  for (std::int64_t step = 1; step <= 3; ++step) means.push_back(reference.mean_at(step));
  comm::run_engines(workers, [&](comm::ProgressEngine& engine) {
    FragmentExchange exchange({.options = options, .seed = kSeed, .engine = &engine},
                              make_wire_codec(options), 0, kValues, [](std::size_t) { return "a value"; });
    for (std::int64_t step = 1; step <= 3; ++step) {
      std::vector<float> values = values_of(engine.rank(), step);
      const CommitRecord record = exchange.reduce(step, values, 5);
      EXPECT_FALSE(exchange.in_flight());
      EXPECT_EQ(record.sent_step, step);
      ASSERT_EQ(bits_of(values), bits_of(means[step - 1])) << options.codec << " at step " << step;
    }
    if (!options.error_feedback) return;
    const at::Tensor residual = exchange.state().tensors.at("residual");
    ASSERT_EQ(bits_of({residual.const_data_ptr<float>(), kValues}),
              bits_of(reference.residual(engine.rank())))
        << options.codec;
  });
}

OuterOptions options_of(const std::string& codec, const std::string& rounding = "nearest") {
  OuterOptions options;
  options.codec = codec;
  options.rounding = rounding;
  options.error_feedback = codec != "fp32";
  options.decay = 0.9;
  options.leg = codec == "fp32" ? "auto" : "gather";  // fp32 means the same either way
  return options;
}

TEST(FragmentExchange, ReducesToTheMeanOfWholePayloads) {
  for (const int workers : {1, 2, 3})
    for (const OuterOptions& options : {options_of("fp32"), options_of("int8"), options_of("e3m0"),
                                        options_of("int2", "stochastic"), options_of("topk")})
      expect_the_mean_of_whole_payloads(options, workers);
}

}  // namespace
}  // namespace thinwire::trainer
