#include "trainer/outer/outer_loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <barrier>
#include <limits>
#include <stdexcept>

#include "tests/trainer/outer/toy_world.h"

namespace thinwire::trainer {
namespace {

using ::testing::HasSubstr;

template <typename Body>
std::string message_of(Body body) {
  try {
    body();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(OuterLoop, AFragmentIsAppliedExactlyOverlapStepsAfterItsSend) {
  for (std::int64_t overlap : {0, 1, 5, 6}) {
    OuterOptions options = toy_options("streaming_diloco");
    options.overlap = overlap;
    const ToyResult result = run_toy_world(2, options, 30);
    for (const CommitRecord& record : result.commits[0]) {
      EXPECT_EQ(record.sent_step % 6, record.fragment * 2);
      EXPECT_GT(record.sent_step, 0);
      EXPECT_EQ(record.step, std::min<std::int64_t>(30, record.sent_step + overlap));
    }
    EXPECT_GE(result.commits[0].size(), 12u);
  }
}

TEST(OuterLoop, ARunResumedAtAnyStepEndsInTheSameBits) {
  constexpr std::int64_t kSteps = 22;
  for (const auto& [codec, rounding] : std::vector<std::pair<std::string, std::string>>{
           {"fp32", "nearest"}, {"int4", "nearest"}, {"e3m0", "nearest"}, {"int2", "stochastic"}})
    for (const std::string method : {"streaming_diloco", "eager_diloco", "diloco", "ddp"}) {
      OuterOptions options = toy_options(method, codec);
      if (method == "streaming_diloco" || method == "eager_diloco") options.embeddings_codec = "int8";
      options.rounding = rounding;
      const ToyResult whole = run_toy_world(3, options, kSteps);
      for (std::int64_t broken = 1; broken < kSteps; ++broken) {
        std::vector<State> saved(3);
        std::barrier all_saved(3);
        comm::run_engines(3, [&](comm::ProgressEngine& engine) {
          ToyWorker worker(options, engine, kSteps);
          worker.train(1, broken);
          saved[engine.rank()] = worker.state();
          all_saved.arrive_and_wait();  // a world that one leaves breaks for those behind
        });
        comm::run_engines(3, [&](comm::ProgressEngine& engine) {
          ToyWorker worker(options, engine, kSteps);
          worker.load(saved[engine.rank()]);
          worker.train(broken + 1, kSteps);
          EXPECT_EQ(worker.loop().digest(), whole.digests[0])
              << method << " " << codec << " broken at " << broken;
        });
      }
    }
}

TEST(OuterLoop, LeavesNoValueOfTheAgreedCopyBelowItsLeast) {
  constexpr float kLeast = 0.9f;
  for (const char* method : {"diloco", "streaming_diloco", "eager_diloco"}) {
    std::vector<std::string> digests(2);
    comm::run_engines(2, [&](comm::ProgressEngine& engine) {
      std::vector<TrainedTensor> tensors = toy_tensors();
      for (TrainedTensor& t : tensors)
        if (t.group == TensorGroup::kScale) t.least = kLeast;
      ToyWorker bounded(toy_options(method), engine, 30, std::move(tensors));
      bounded.train(1, 30);
      ToyWorker free(toy_options(method), engine, 30);
      free.train(1, 30);
      std::int64_t clamped = 0;
      for (const CommitRecord& record : bounded.commits()) clamped += record.clamped;
      EXPECT_GT(clamped, 0) << method;
      const NamedViews of_bounded = bounded.loop().agreed(), of_free = free.loop().agreed();
      for (std::size_t i = 0; i < of_free.size(); ++i) {
        const auto& [name, values] = of_bounded[i];
        if (name.ends_with(".step")) {
          EXPECT_GE(values.min().item<float>(), kLeast) << method << " " << name;
          EXPECT_LT(of_free[i].second.min().item<float>(), kLeast) << method << " " << name;
        } else {
          EXPECT_TRUE(torch::equal(values, of_free[i].second)) << method << " " << name;
        }
      }
      digests[static_cast<std::size_t>(engine.rank())] = bounded.loop().digest();
      // The digest of a commit is that of what came of it.
      State state = bounded.state();
      ToyWorker again(toy_options(method), engine, 30);
      again.load(state);
      EXPECT_EQ(again.loop().digest(), bounded.loop().digest()) << method;
    });
    EXPECT_EQ(digests[0], digests[1]) << method;
  }
}

TEST(OuterLoop, MergesWithTheWeightOfTheLocalParameters) {
  OuterOptions options = toy_options("streaming_diloco");
  options.alpha = 0;
  options.overlap = 0;
  comm::run_engines(2, [&](comm::ProgressEngine& engine) {
    ToyWorker worker(options, engine, 100);
    worker.train(1, 6);  // fragment 0 was applied at step 6
    for (const auto& [name, agreed] : worker.loop().agreed())
      for (const TrainedTensor& t : worker.tensors())
        if (t.name == name && t.block == 0) {
          EXPECT_TRUE(torch::equal(agreed, t.tensor)) << name;
        }
  });
}

TEST(OuterLoop, WithAgreedShowsTheAgreedCopyAndPutsTheLiveOneBack) {
  comm::run_engines(2, [&](comm::ProgressEngine& engine) {
    ToyWorker worker(toy_options("streaming_diloco"), engine, 100);
    worker.train(1, 9);
    const at::Tensor& live = worker.tensors()[1].tensor;
    const at::Tensor before = live.detach().clone();
    at::Tensor agreed;
    for (const auto& [name, view] : worker.loop().agreed())
      if (name == worker.tensors()[1].name) agreed = view.clone();
    EXPECT_FALSE(torch::equal(before, agreed));
    worker.loop().with_agreed([&] { EXPECT_TRUE(torch::equal(live, agreed)); });
    EXPECT_TRUE(torch::equal(live, before));
    EXPECT_THROW(worker.loop().with_agreed([] { throw std::runtime_error("evaluation failed"); }),
                 std::runtime_error);
    EXPECT_TRUE(torch::equal(live, before));
  });
}

TEST(OuterLoop, RefusesToSendNanAndNamesTensorIndexAndStep) {
  for (const char* method : {"streaming_diloco", "eager_diloco", "ddp"}) {
    comm::run_engines(1, [&](comm::ProgressEngine& engine) {
      ToyWorker worker(toy_options(method, "e3m0"), engine, 100);
      worker.train(1, 1);
      const std::string message = message_of([&] {
        torch::NoGradGuard no_grad;
        for (std::int64_t step = 2; step < 10; ++step) {
          worker.tensors()[2].tensor.view(-1)[17] = std::numeric_limits<float>::quiet_NaN();
          worker.train(step, step);
        }
      });
      EXPECT_THAT(message, HasSubstr("blocks.0.weight[17]"));
      EXPECT_THAT(message, testing::MatchesRegex("at step [26]: .*"));
    });
  }
}

TEST(OuterLoop, NamesTheWorkerWhoseAgreedStateDiffers) {
  const auto makers = comm::make_thread_world(2, 10);
  std::vector<std::string> messages(2);
  comm::run_ranks(2, [&](int rank) {
    comm::ProgressEngine engine(makers[rank]);
    engine.start();
    ToyWorker worker(toy_options("streaming_diloco"), engine, 100);
    State state = worker.state();
    if (rank == 1) state.tensors["outer/agreed"][0] += 1;
    worker.load(state);
    messages[rank] = message_of([&] { worker.train(1, 20); });
    engine.barrier();
    engine.stop();
  });
  for (const std::string& message : messages) EXPECT_THAT(message, HasSubstr("different agreed parameters"));
  EXPECT_THAT(messages[0], HasSubstr("worker 1 had"));
}

TEST(OuterLoop, RefusesSettingsThatDoNotFit) {
  comm::run_engines(1, [&](comm::ProgressEngine& engine) {
    const auto refusal = [&](const OuterOptions& options) {
      return message_of([&] { ToyWorker(options, engine, 10); });
    };
    OuterOptions options = toy_options("streaming_diloco");
    options.fragments = 3;
    EXPECT_THAT(refusal(options), HasSubstr("outer.fragments: expected 1 to 2"));
    options = toy_options("streaming_diloco");
    options.overlap = 7;
    EXPECT_THAT(refusal(options), HasSubstr("outer.overlap: expected 0 to outer.sync_every = 6"));
    EXPECT_THAT(refusal(toy_options("gossip")),
                HasSubstr("none, ddp, diloco, streaming_diloco, eager_diloco"));
    for (const char* method : {"none", "ddp", "diloco"}) {
      options = toy_options(method);
      options.embeddings_codec = "int8";
      EXPECT_THAT(refusal(options), HasSubstr(std::string("outer.embeddings_codec: means nothing to "
                                                          "outer.method = ") +
                                              method));
    }
  });
}

TEST(OuterLoop, RefusesACodecForEmbeddingsWhereNoneTravel) {
  OuterOptions options = toy_options("streaming_diloco");
  options.embeddings_codec = "int8";
  comm::run_engines(1, [&](comm::ProgressEngine& engine) {
    std::vector<TrainedTensor> blocks = toy_tensors();
    blocks.erase(blocks.begin());
    EXPECT_THAT(message_of([&] { make_outer_loop({.options = options, .engine = &engine}, blocks); }),
                HasSubstr("outer.embeddings_codec: no embeddings, head or final norm travel here"));
  });
}

TEST(FlatParameters, EachFragmentAlignsItsScalesToTheBlockOfItsCodec) {
  std::vector<TrainedTensor> tensors = toy_tensors();
  tensors.push_back({.name = "head.step", .tensor = torch::ones({2}), .group = TensorGroup::kScale});
  const FlatParameters parameters(tensors, {.block_fragments = 2, .codec_block = 16, .rest_codec_block = 24});
  EXPECT_EQ(parameters.rest_fragment(), 2u);
  EXPECT_EQ(parameters.describe(0, 64), "blocks.0.step[0]");  // 49 + 7 values before it
  EXPECT_EQ(parameters.describe(2, 48), "head.step[0]");      // 35 before it
  EXPECT_EQ(FlatParameters(toy_tensors(), {.layout = FragmentLayout::kWhole}).rest_fragment(), std::nullopt);
}

TEST(FlatParameters, LaysOutMatricesThenVectorsThenScalesInANewBlock) {
  FlatParameters parameters(toy_tensors(), {.layout = FragmentLayout::kWhole, .codec_block = 16});
  ASSERT_EQ(parameters.num_fragments(), 1u);
  EXPECT_EQ(parameters.describe(0, 0), "embedding[0]");
  EXPECT_EQ(parameters.describe(0, 35), "blocks.0.weight[0]");
  EXPECT_EQ(parameters.describe(0, 35 + 49), "blocks.1.weight[0]");
  EXPECT_EQ(parameters.describe(0, 35 + 98), "blocks.0.norm[0]");
  EXPECT_EQ(parameters.describe(0, 35 + 98 + 14), "padding of fragment 0");
  EXPECT_EQ(parameters.describe(0, 160), "blocks.0.step[0]");  // 147 rounded up to a multiple of 16
  EXPECT_EQ(parameters.fragment(0).size, 166u);
}

TEST(FlatParameters, KeepsValuesAndTurnsTensorsIntoViews) {
  std::vector<TrainedTensor> tensors = toy_tensors();
  std::vector<at::Tensor> before;
  for (const TrainedTensor& t : tensors) before.push_back(t.tensor.detach().clone());
  FlatParameters parameters(tensors, {.block_fragments = 2, .codec_block = 16});
  for (std::size_t i = 0; i < tensors.size(); ++i) EXPECT_TRUE(torch::equal(tensors[i].tensor, before[i]));
  for (float& value : parameters.values()) value = 4;
  for (const TrainedTensor& t : tensors) EXPECT_TRUE(torch::all(t.tensor == 4).item<bool>()) << t.name;
}

TEST(FlatParameters, StridedAndSequentialLayoutsDifferAsTheirNamesSay) {
  const auto four_blocks = [] {
    std::vector<TrainedTensor> tensors;
    for (std::int64_t block = 0; block < 4; ++block)
      tensors.push_back({.name = "b" + std::to_string(block), .tensor = torch::zeros({4}), .block = block});
    return tensors;
  };
  FlatParameters strided(four_blocks(), {.layout = FragmentLayout::kStrided, .block_fragments = 2});
  EXPECT_EQ(strided.describe(0, 4), "b2[0]");
  EXPECT_EQ(strided.describe(1, 4), "b3[0]");
  FlatParameters sequential(four_blocks(), {.layout = FragmentLayout::kSequential, .block_fragments = 2});
  EXPECT_EQ(sequential.describe(0, 4), "b1[0]");
  EXPECT_EQ(sequential.describe(1, 0), "b2[0]");
}

}  // namespace
}  // namespace thinwire::trainer
