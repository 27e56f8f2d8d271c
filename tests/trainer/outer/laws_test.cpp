// The five laws of the outer loop ("What a correct implementation must show", Streaming DiLoCo).
#include <gtest/gtest.h>

#include <cmath>

#include "comm/mean.h"
#include "quant/codec/codec.h"
#include "tests/trainer/outer/toy_world.h"

namespace thinwire::trainer {
namespace {

std::vector<float> initial_values() {
  std::vector<float> values;
  for (const TrainedTensor& t : toy_tensors())
    values.insert(values.end(), t.tensor.data_ptr<float>(), t.tensor.data_ptr<float>() + t.tensor.numel());
  return values;
}

// DiLoCo as its paper states it, for the toy problem, one value at a time in double.
std::vector<double> reference_diloco(int workers, const OuterOptions& options, std::int64_t steps,
                                     double lr) {
  std::vector<double> result;
  for (float start : initial_values()) {
    double agreed = start, momentum = 0;
    std::vector<double> local(workers, start);
    for (std::int64_t step = 1; step <= steps; ++step) {
      for (int w = 0; w < workers; ++w) local[w] -= lr * (local[w] - ToyWorker::target(w, step));
      if (step % options.sync_every != 0) continue;
      double mean = 0;
      for (double value : local) mean += (agreed - value) / workers;
      momentum = options.momentum * momentum + mean;
      agreed -= options.lr * (mean + options.momentum * momentum);
      for (double& value : local) value = agreed;
    }
    result.push_back(agreed);
  }
  return result;
}

// Values are of order 1; every step rounds a few times.
void expect_close(const std::vector<float>& found, const std::vector<double>& expected, std::int64_t steps) {
  ASSERT_EQ(found.size(), expected.size());
  const double tolerance = 16 * static_cast<double>(steps) * std::numeric_limits<float>::epsilon();
  for (std::size_t i = 0; i < found.size(); ++i)
    EXPECT_NEAR(found[i], expected[i], tolerance) << "value " << i;
}

TEST(OuterLaws, OneInnerStepWithPlainOuterSgdIsDataParallelSgd) {
  OuterOptions options = toy_options("diloco");
  options.sync_every = 1;
  options.lr = 1;
  options.momentum = 0;
  for (int workers : {1, 2, 3, 4}) {
    const ToyResult outer = run_toy_world(workers, options, 20);
    const ToyResult parallel = run_toy_world(workers, toy_options("ddp"), 20);
    std::vector<double> expected(parallel.agreed[0].begin(), parallel.agreed[0].end());
    expect_close(outer.agreed[0], expected, 20);
  }
}

TEST(OuterLaws, OneFragmentWithoutOverlapIsDiLoCo) {
  const OuterOptions options = toy_options("diloco");
  for (int workers : {2, 3}) {
    const ToyResult found = run_toy_world(workers, options, 24);
    expect_close(found.agreed[0], reference_diloco(workers, options, 24, 0.1), 24);
  }
}

TEST(OuterLaws, StreamingFragmentsWithoutOverlapAgreeWithDiLoCoOnTheFragmentThatSyncsWithIt) {
  OuterOptions streaming = toy_options("streaming_diloco");
  streaming.overlap = 0;
  streaming.alpha = 0;
  const ToyResult whole = run_toy_world(2, toy_options("diloco"), 24);
  const ToyResult parts = run_toy_world(2, streaming, 24);
  // Fragment 0 (block 0: norm, weight, step) has offset 0, as the whole model has; values are independent
  // here.
  const std::size_t begin = 5 * 7, end = begin + 7 + 7 * 7 + 3;
  for (std::size_t i = begin; i < end; ++i)
    EXPECT_EQ(whole.agreed[0][i], parts.agreed[0][i]) << "value " << i;
}

TEST(OuterLaws, AWorldOfOneIsALookaheadRun) {
  const OuterOptions options = toy_options("diloco");
  const ToyResult found = run_toy_world(1, options, 24);
  expect_close(found.agreed[0], reference_diloco(1, options, 24, 0.1), 24);
  EXPECT_EQ(found.sent[0].wire, 0u);
}

TEST(OuterLaws, AgreedCopyAndMomentumAreBitEqualOnAllWorkersForEveryCodec) {
  for (const char* method : {"streaming_diloco", "eager_diloco"})
    for (const std::string& codec : quant::codec_names())
      for (const char* rounding : {"nearest", "stochastic"})
        for (int workers : {2, 3, 4}) {
          OuterOptions options = toy_options(method, codec);
          options.rounding = rounding;
          const ToyResult result = run_toy_world(workers, options, 20);
          for (int w = 1; w < workers; ++w)
            EXPECT_EQ(result.digests[0], result.digests[w])
                << method << " " << codec << " " << rounding << " worker " << w;
        }
}

TEST(OuterLaws, AgreedCopyIsBitEqualOnAllWorkersWithSparseAndRotatedPayloads) {
  OuterOptions sparse = toy_options("streaming_diloco", "topk");
  sparse.k = 1024;
  sparse.decay = 0.95;
  sparse.momentum = 0;
  OuterOptions rotated = toy_options("streaming_diloco", "int2");
  rotated.rotate = true;
  for (const OuterOptions& options : {sparse, rotated})
    for (const char* method : {"streaming_diloco", "diloco", "ddp"})
      for (int workers : {2, 3}) {
        OuterOptions changed = options;
        changed.method = method;
        const ToyResult result = run_toy_world(workers, changed, 20);
        for (int w = 1; w < workers; ++w)
          EXPECT_EQ(result.digests[0], result.digests[w])
              << options.codec << " " << method << " worker " << w;
      }
}

TEST(OuterLaws, BothReturnLegsAgreeBitForBitAcrossWorkers) {
  for (const char* method : {"streaming_diloco", "eager_diloco"})
    for (const char* leg : {"gather", "reduce"})
      for (const char* codec : {"fp32", "int4", "e3m0"}) {
        OuterOptions options = toy_options(method, codec);
        options.leg = leg;
        const ToyResult result = run_toy_world(4, options, 20);
        for (int w = 1; w < 4; ++w)
          EXPECT_EQ(result.digests[0], result.digests[w]) << method << " " << leg << " " << codec;
      }
}

// Runs the options and expects of every worker and fragment the bytes that the fragment's codec says.
void expect_the_bytes_of_the_formula(int workers, const OuterOptions& options) {
  constexpr std::int64_t kSteps = 25;
  const ToyResult result = run_toy_world(workers, options, kSteps);
  const auto of_blocks = make_wire_codec(options), of_the_rest = make_embeddings_codec(options);
  // Blocks: 49 + 7 values, padded to whole blocks of the codec, and 3 scales. The embedding: 35.
  const std::size_t block_size =
      (49 + 7 + of_blocks->block() - 1) / of_blocks->block() * of_blocks->block() + 3;
  const std::vector<std::size_t> sizes = {block_size, block_size, 35};
  for (int w = 0; w < workers; ++w) {
    std::uint64_t expected_total = 0;
    for (std::size_t p = 0; p < sizes.size(); ++p) {
      const quant::Codec& codec = p == 2 ? *of_the_rest : *of_blocks;
      const comm::Leg leg = comm::choose_leg(options.leg, workers, codec, sizes[p]);
      const std::uint64_t one = comm::mean_wire_bytes(leg, workers, w, codec, sizes[p]);
      if (leg == comm::Leg::kGather) {
        EXPECT_EQ(one, static_cast<std::uint64_t>(workers - 1) * (64 + codec.encoded_bytes(sizes[p])));
      }
      // t_p = 0, 2, 4 of a period of 6; nothing is due at the last step.
      const std::int64_t sends = (kSteps - 1 - static_cast<std::int64_t>(p) * 2) / 6 + (p == 0 ? 0 : 1);
      std::int64_t commits = 0;
      for (const CommitRecord& record : result.commits[w]) {
        if (record.fragment != static_cast<std::int64_t>(p)) continue;
        ++commits;
        EXPECT_EQ(record.wire_bytes, one);
      }
      EXPECT_EQ(commits, sends) << "fragment " << p;
      expected_total += static_cast<std::uint64_t>(sends) * one;
    }
    EXPECT_EQ(result.sent[w].wire, expected_total) << options.codec << " worker " << w << " of " << workers;
  }
}

TEST(OuterLaws, WireBytesEqualTheFormulaPerWorkerAndPerFragment) {
  for (const std::string& codec : quant::codec_names())
    for (const char* method : {"streaming_diloco", "eager_diloco"})
      for (int workers : {1, 2, 4}) expect_the_bytes_of_the_formula(workers, toy_options(method, codec));
}

TEST(OuterLaws, TheFragmentOfEmbeddingsGoesByItsOwnCodec) {
  OuterOptions options = toy_options("streaming_diloco", "int4");
  options.embeddings_codec = "int8";
  for (int workers : {1, 2, 4}) {
    expect_the_bytes_of_the_formula(workers, options);
    const ToyResult mixed = run_toy_world(workers, options, 20);
    const ToyResult int4 = run_toy_world(workers, toy_options("streaming_diloco", "int4"), 20);
    const ToyResult int8 = run_toy_world(workers, toy_options("streaming_diloco", "int8"), 20);
    for (int w = 1; w < workers; ++w) EXPECT_EQ(mixed.digests[0], mixed.digests[w]) << "worker " << w;
    // The values of the toy do not meet: each is what its fragment's codec alone would give. First the
    // embedding.
    for (std::size_t i = 0; i < mixed.agreed[0].size(); ++i)
      EXPECT_EQ(mixed.agreed[0][i], (i < 5 * 7 ? int8 : int4).agreed[0][i]) << "value " << i;
    EXPECT_NE(mixed.digests[0], int4.digests[0]);
  }
}

}  // namespace
}  // namespace thinwire::trainer
