#include "trainer/outer/eager_diloco.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "tests/trainer/outer/toy_world.h"

namespace thinwire::trainer {
namespace {

constexpr double kInnerLr = 0.1;

// One value of the toy, trained as the paper states it: every worker has outer parameters and a momentum of
// its own, and steps with mean^(t-1) + (own^t - own^(t-1)) / M. Beside them, the trajectory of true means.
// In double.
class PaperEager {
 public:
  PaperEager(int workers, const OuterOptions& options, std::int64_t offset, double start)
      : options_(options),
        offset_(offset),
        workers_(workers, {.outer = start, .live = start}),
        agreed_(start) {}

  void train(std::int64_t steps) {
    for (std::int64_t step = 1; step <= steps; ++step) {
      for (std::size_t w = 0; w < workers_.size(); ++w)
        workers_[w].live -= kInnerLr * (workers_[w].live - ToyWorker::target(static_cast<int>(w), step));
      if ((step - offset_) % options_.sync_every == 0) end_period();
    }
    step_agreed();  // what is in flight
  }

  double agreed() const { return agreed_; }
  double live(int worker) const { return workers_[worker].live; }

 private:
  struct OneWorker {
    double outer = 0, live = 0, momentum = 0, own = 0;
  };

  void end_period() {
    step_agreed();
    const auto m = static_cast<double>(workers_.size());
    double next_mean = 0;
    for (OneWorker& worker : workers_) {
      const double own = worker.outer - worker.live;
      const double gradient = mean_ + (own - worker.own) / m;
      worker.momentum = options_.momentum * worker.momentum + gradient;
      worker.outer -= options_.lr * (gradient + options_.momentum * worker.momentum);
      worker.live = worker.outer;
      worker.own = own;
      next_mean += own / m;
    }
    mean_ = next_mean;
    in_flight_ = true;
  }

  void step_agreed() {
    if (!in_flight_) return;
    momentum_ = options_.momentum * momentum_ + mean_;
    agreed_ -= options_.lr * (mean_ + options_.momentum * momentum_);
  }

  const OuterOptions options_;
  const std::int64_t offset_;
  std::vector<OneWorker> workers_;
  double agreed_, momentum_ = 0, mean_ = 0;
  bool in_flight_ = false;
};

// Of the fragment that a toy tensor belongs to: t_p = 0, 2 for the blocks, 4 for the embedding.
std::int64_t offset_of(const TrainedTensor& tensor) {
  return tensor.block < 0 ? 4 : 2 * tensor.block;
}

TEST(EagerDiLoCo, FollowsThePaperOnEveryWorkerAndItsAgreedCopyTheTrueMeans) {
  constexpr std::int64_t kSteps = 27;
  const OuterOptions options = toy_options("eager_diloco");
  for (int workers : {1, 2, 3})
    comm::run_engines(workers, [&](comm::ProgressEngine& engine) {
      ToyWorker worker(options, engine, kSteps);
      const std::vector<TrainedTensor> start = toy_tensors();
      worker.train(1, kSteps, kInnerLr);
      const NamedViews agreed = worker.loop().agreed();
      for (std::size_t i = 0; i < start.size(); ++i) {
        const TrainedTensor& live = worker.tensors()[i];
        const auto view = std::find_if(agreed.begin(), agreed.end(),
                                       [&](const auto& named) { return named.first == live.name; });
        for (std::int64_t k = 0; k < live.tensor.numel(); ++k) {
          PaperEager paper(workers, options, offset_of(live), start[i].tensor.view(-1)[k].item<double>());
          paper.train(kSteps);
          // Values of order 1 that round a few times a step; the outer step amplifies up to sevenfold.
          const double tolerance = 100.0 * kSteps * std::numeric_limits<float>::epsilon();
          EXPECT_NEAR(view->second.view(-1)[k].item<double>(), paper.agreed(), tolerance) << live.name;
          EXPECT_NEAR(live.tensor.view(-1)[k].item<double>(), paper.live(engine.rank()), tolerance)
              << live.name << " of worker " << engine.rank();
        }
      }
    });
}

TEST(EagerDiLoCo, OneWorkerTrainsAsItDoesWithoutOverlapBitForBit) {
  for (const char* codec : {"fp32", "int4", "e3m0", "sign"})
    comm::run_engines(1, [&](comm::ProgressEngine& engine) {
      constexpr std::int64_t kSteps = 30;
      OuterOptions options = toy_options("streaming_diloco", codec);
      options.overlap = 0;
      options.alpha = 0;
      ToyWorker waits(options, engine, kSteps), goes_on(toy_options("eager_diloco", codec), engine, kSteps);
      for (std::int64_t step = 1; step <= kSteps; ++step) {
        waits.train(step, step);
        goes_on.train(step, step);
        for (std::size_t i = 0; i < waits.tensors().size(); ++i)
          EXPECT_TRUE(torch::equal(waits.tensors()[i].tensor, goes_on.tensors()[i].tensor))
              << codec << " step " << step << " " << waits.tensors()[i].name;
        // Its agreed copy is a period behind, until all that is in flight has arrived.
        if (step > 5) {
          EXPECT_EQ(waits.loop().digest() == goes_on.loop().digest(), step == kSteps) << codec << " " << step;
        }
      }
    });
}

TEST(EagerDiLoCo, AMeanIsAppliedOnePeriodAfterItsSendOrAtTheEnd) {
  for (std::int64_t steps : {28, 30}) {
    const ToyResult result = run_toy_world(2, toy_options("eager_diloco"), steps);
    std::int64_t last_sent = 0;
    for (const CommitRecord& record : result.commits[0]) {
      EXPECT_EQ(record.sent_step % 6, record.fragment * 2);
      EXPECT_EQ(record.step, std::min(steps, record.sent_step + 6));
      last_sent = std::max(last_sent, record.sent_step);
    }
    EXPECT_EQ(last_sent, steps);  // fragment 2 or 0 is due there
    EXPECT_EQ(result.digests[0], result.digests[1]);
  }
}

TEST(EagerDiLoCo, WorkersStartAPeriodApartButAgreeOnTheCopy) {
  std::vector<at::Tensor> live(2), agreed(2);
  comm::run_engines(2, [&](comm::ProgressEngine& engine) {
    ToyWorker worker(toy_options("eager_diloco"), engine, 100);
    worker.train(1, 12);  // fragment 0 was sent, and its last mean applied, at step 12
    for (const auto& [name, view] : worker.loop().agreed())
      if (name == "blocks.0.weight") agreed[engine.rank()] = view.clone();
    for (const TrainedTensor& t : worker.tensors())
      if (t.name == "blocks.0.weight") live[engine.rank()] = t.tensor.detach().clone();
  });
  EXPECT_TRUE(torch::equal(agreed[0], agreed[1]));
  EXPECT_FALSE(torch::equal(live[0], live[1]));
  EXPECT_FALSE(torch::equal(live[0], agreed[0]));
}

}  // namespace
}  // namespace thinwire::trainer
