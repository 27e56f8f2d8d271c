// What a task trains and what travels: over every kind and layout, each travelling tensor lies whole in
// exactly one fragment, and what does not travel is named here.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "tests/trainer/task/task_support.h"
#include "tests/trainer/temporary_folder.h"
#include "trainer/model/language_model.h"
#include "trainer/options/options.h"
#include "trainer/outer/flat_parameters.h"

namespace thinwire::trainer {
namespace {

using test::TemporaryFolder;

constexpr std::int64_t kBlocks = 3;

Options three_blocks(const std::string& kind, bool tied) {
  Options options = small_options(kind);
  options.model.layers = kBlocks;
  options.model.tied = tied;
  return options;
}

// Trained tensors that stay on their worker, by kind. None yet: a task that keeps one local adds its name
// here.
const std::map<std::string, std::set<std::string>> kLocal = {
    {"pretrain", {}}, {"qat", {}}, {"lora", {}}, {"distill", {}}};

class FragmentsOfTasks : public testing::TestWithParam<std::tuple<const char*, bool>> {
 protected:
  FragmentsOfTasks() {
    if (kind() != "pretrain") options_.model.from = base();
    if (kind() == "distill") options_.task.teacher = base();
    if (kind() == "qat") options_.quant.rule = {{.match = "."}};  // the head's step sizes too
    task_ = make_task(options_);
  }

  std::string kind() const { return std::get<0>(GetParam()); }
  std::string base() {
    if (base_.empty()) base_ = save_base(folder_ / "base", three_blocks("pretrain", tied()), /*steps=*/0);
    return base_;
  }
  bool tied() const { return std::get<1>(GetParam()); }

  std::vector<TrainedTensor> travelling() {
    std::vector<TrainedTensor> tensors = task_->trained();
    std::erase_if(tensors, [](const TrainedTensor& t) { return !t.travels; });
    return tensors;
  }

  TemporaryFolder folder_;
  std::string base_;
  Options options_ = three_blocks(kind(), tied());
  std::unique_ptr<Task> task_;
};

INSTANTIATE_TEST_SUITE_P(Kinds, FragmentsOfTasks,
                         testing::Combine(testing::Values("pretrain", "qat", "lora", "distill"),
                                          testing::Bool()),
                         [](const auto& kind) {
                           return std::string(std::get<0>(kind.param)) +
                                  (std::get<1>(kind.param) ? "Tied" : "Untied");
                         });

TEST_P(FragmentsOfTasks, KeepNoTrainedTensorButTheNamedOnesLocal) {
  std::set<std::string> local;
  for (const TrainedTensor& t : task_->trained())
    if (!t.travels) local.insert(t.name);
  EXPECT_EQ(local, kLocal.at(kind()));
}

std::vector<FragmentPlan> plans() {
  std::vector<FragmentPlan> plans;
  for (const FragmentLayout layout :
       {FragmentLayout::kWhole, FragmentLayout::kStrided, FragmentLayout::kSequential})
    for (std::int64_t fragments = 1; fragments <= kBlocks; ++fragments)
      for (const std::int64_t rest_block : {16, 256})
        plans.push_back({layout, fragments, /*codec_block=*/64, rest_block});
  return plans;
}

// How often each value of the flat buffer is taken, by tensors and by padding.
std::vector<int> taken(const FlatParameters& flat, const std::vector<TrainedTensor>& tensors) {
  std::vector<int> count(flat.flat_size(), 0);
  const auto take = [&](std::size_t begin, std::size_t size) {
    for (std::size_t i = begin; i < begin + size; ++i) ++count.at(i);
  };
  for (const TrainedTensor& t : tensors)
    take(static_cast<std::size_t>(t.tensor.const_data_ptr<float>() - flat.values().data()),
         static_cast<std::size_t>(t.tensor.numel()));
  for (const FlatRange& range : flat.padding()) take(range.begin, range.size);
  return count;
}

TEST_P(FragmentsOfTasks, HoldEveryTravellingTensorOnceAndNothingElse) {
  for (const FragmentPlan& plan : plans()) {
    const std::vector<TrainedTensor> tensors = travelling();
    const FlatParameters flat(tensors, plan);
    std::vector<int> expected(flat.flat_size(), 0);  // once in a fragment, not at all between two
    std::size_t end = 0;
    for (std::size_t p = 0; p < flat.num_fragments(); ++p) {
      const FlatRange& range = flat.fragment(p);
      ASSERT_GE(range.begin, end) << "fragments overlap";
      end = range.begin + range.size;
      std::fill_n(expected.begin() + static_cast<std::ptrdiff_t>(range.begin), range.size, 1);
    }
    EXPECT_EQ(taken(flat, tensors), expected);
  }
}

// The names of the tensors that have a value in fragment p.
std::vector<std::string> members(const FlatParameters& flat, std::size_t p,
                                 const std::vector<TrainedTensor>& tensors) {
  std::vector<std::string> names;
  const FlatRange& range = flat.fragment(p);
  for (const TrainedTensor& t : tensors) {
    const auto begin = static_cast<std::size_t>(t.tensor.const_data_ptr<float>() - flat.values().data());
    const std::size_t end = begin + static_cast<std::size_t>(t.tensor.numel());
    if (begin < range.begin + range.size && end > range.begin) names.push_back(t.name);
  }
  return names;
}

TEST_P(FragmentsOfTasks, AreNeverTornAndKeepABlockTogether) {
  for (const FragmentPlan& plan : plans()) {
    const std::vector<TrainedTensor> tensors = travelling();
    const FlatParameters flat(tensors, plan);
    std::map<std::string, std::vector<std::size_t>> homes;
    for (std::size_t p = 0; p < flat.num_fragments(); ++p)
      for (const std::string& name : members(flat, p, tensors)) homes[name].push_back(p);
    std::map<std::int64_t, std::set<std::size_t>> fragments_of_block;
    for (const TrainedTensor& t : tensors) {
      ASSERT_EQ(homes[t.name].size(), 1u) << t.name;
      fragments_of_block[t.block].insert(homes[t.name].front());
    }
    for (const auto& [block, fragments] : fragments_of_block) EXPECT_EQ(fragments.size(), 1u) << block;
    if (plan.layout == FragmentLayout::kWhole || !fragments_of_block.contains(-1)) continue;
    EXPECT_THAT(fragments_of_block.at(-1), testing::ElementsAre(flat.rest_fragment().value()));
  }
}

}  // namespace
}  // namespace thinwire::trainer
