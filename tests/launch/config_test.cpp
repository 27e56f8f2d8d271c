#include "launch/config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "launch/config/nearest.h"

namespace thinwire::launch {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// The least that is a config: what has no default.
const std::string kNeeded = "[run]\ndir = \"runs/x\"\n[data]\npath = \"corpus.txt\"\n";  // 4 lines

trainer::Options parse(const std::string& toml, const std::vector<std::string>& overrides = {}) {
  return parse_config(toml, "job.toml", overrides);
}

std::string refusal(const std::string& toml, const std::vector<std::string>& overrides = {}) {
  try {
    parse(toml, overrides);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Config, DefaultsAreThoseOfTheStructs) {
  const trainer::Options options = parse(kNeeded);
  EXPECT_THAT(differing_keys(options, trainer::Options{}), ElementsAre("run.dir", "data.path"));
}

TEST(Config, ReadsEveryTypeOfValue) {
  const trainer::Options options =
      parse(kNeeded +
            "[model]\ntied = false\n[inner]\nlr = 1\nbetas = [0.8, 0.9]\nsteps = 7\n"
            "[outer]\ncodec = \"int4\"\n");
  EXPECT_FALSE(options.model.tied);
  EXPECT_EQ(options.inner.lr, 1.0);
  EXPECT_THAT(options.inner.betas, ElementsAre(0.8, 0.9));
  EXPECT_EQ(options.inner.steps, 7);
  EXPECT_EQ(options.outer.codec, "int4");
}

TEST(Config, AScalarWhereAListMayStandIsAListOfOne) {
  EXPECT_THAT(parse(kNeeded).data.path, ElementsAre("corpus.txt"));
}

TEST(Config, ReadsRulesAsAListOfTables) {
  const trainer::Options options = parse(kNeeded +
                                         "[task]\nkind = \"qat\"\n"
                                         "[[quant.rule]]\nmatch = \"attention\"\nweights = \"int8\"\n"
                                         "[[quant.rule]]\nactivations = \"none\"\n");
  ASSERT_EQ(options.quant.rule.size(), 2u);
  EXPECT_EQ(options.quant.rule[0].match, "attention");
  EXPECT_EQ(options.quant.rule[0].weights, "int8");
  EXPECT_EQ(options.quant.rule[1].activations, "none");
}

TEST(Config, OverridesWinInTheirOrderAndTakeBareWordsAsStrings) {
  const trainer::Options options =
      parse(kNeeded, {"outer.codec=int2", "outer.codec=sign", "comm.link=20mbit/40ms", "inner.lr = 1e-3",
                      "run.dir=2024", "data.path=[\"a\", \"b\"]", "task.kind=qat",
                      "quant.rule=[{weights = \"int2\"}]"});
  EXPECT_EQ(options.outer.codec, "sign");
  EXPECT_EQ(options.comm.link, "20mbit/40ms");
  EXPECT_EQ(options.inner.lr, 1e-3);
  EXPECT_EQ(options.run.dir, "2024");
  EXPECT_THAT(options.data.path, ElementsAre("a", "b"));
  EXPECT_EQ(options.quant.rule.at(0).weights, "int2");
}

TEST(Config, TheResolvedConfigReadsBackToTheSameOptions) {
  trainer::Options options = parse(kNeeded);
  options.run.dir = "a \"quoted\" \\ folder\n\x7f";
  options.run.seed = 1234567890123456789u;
  options.inner.lr = 0.1 + 0.2;
  options.inner.weight_decay = 1e-300;
  options.data.path = {"a", "b,c]"};
  options.quant.rule = {{"blocks\\.0", "int2", "none"}, {}};
  const std::string toml = to_toml(options);
  const trainer::Options again = parse(toml);
  EXPECT_THAT(differing_keys(options, again), ElementsAre());
  EXPECT_EQ(again.inner.lr, 0.1 + 0.2);
  EXPECT_EQ(again.inner.weight_decay, 1e-300);
  EXPECT_EQ(again.run.dir, options.run.dir);
  EXPECT_EQ(to_toml(again), toml);
}

TEST(Config, DifferingKeysAreNamedWithTheirSection) {
  trainer::Options a = parse(kNeeded), b = a;
  b.inner.steps += 1;
  b.outer.error_feedback = !a.outer.error_feedback;
  b.quant.rule.emplace_back();
  EXPECT_THAT(differing_keys(a, b), ElementsAre("quant.rule", "inner.steps", "outer.error_feedback"));
}

TEST(Config, AnUnknownKeySuggestsTheNearest) {
  EXPECT_EQ(refusal(kNeeded + "[inner]\nbatchsize = 3\n"),
            "job.toml:6: unknown key inner.batchsize; did you mean inner.batch?");
  EXPECT_EQ(refusal(kNeeded, {"outer.codecs=int4"}),
            "--set outer.codecs=int4: unknown key outer.codecs; did you mean outer.codec?");
  EXPECT_EQ(refusal(kNeeded + "[[quant.rule]]\nweight = \"int4\"\n"),
            "job.toml:6: unknown key quant.rule.weight; did you mean quant.rule.weights?");
}

TEST(Config, AKeyInTheWrongSectionSuggestsItsOwn) {
  EXPECT_EQ(refusal(kNeeded + "[model]\nlr = 3\n"),
            "job.toml:6: unknown key model.lr; did you mean inner.lr or outer.lr?");
  EXPECT_EQ(refusal("steps = 3\n" + kNeeded),
            "job.toml:1: key \"steps\" stands outside a section; did you mean inner.steps?");
}

TEST(Config, AnUnknownSectionSuggestsTheNearest) {
  EXPECT_EQ(refusal(kNeeded + "[iner]\nlr = 3\n"),
            "job.toml:5: unknown section [iner]; did you mean [inner]?");
}

TEST(Config, AWrongTypeNamesLineExpectedAndFound) {
  EXPECT_EQ(refusal(kNeeded + "[inner]\n\nlr = \"fast\"\n"),
            "job.toml:7: inner.lr: expected number, found string \"fast\"");
  EXPECT_EQ(refusal(kNeeded + "[inner]\nsteps = 600.0\n"),
            "job.toml:6: inner.steps: expected integer, found number 600; write 600");
  EXPECT_EQ(refusal(kNeeded + "[model]\ntied = 1\n"),
            "job.toml:6: model.tied: expected true or false, found integer 1");
  EXPECT_EQ(refusal(kNeeded + "[outer]\ncodec = [\"int4\"]\n"),
            "job.toml:6: outer.codec: expected string, found a list that starts with string \"int4\"");
  EXPECT_EQ(refusal("[run]\ndir = \"x\"\n[data]\npath = [\"a\", 2]\n"),
            "job.toml:4: data.path: expected list of strings, found integer 2 in it; write \"2\"");
  EXPECT_EQ(refusal(kNeeded + "[inner]\nlr = nan\n"),
            "job.toml:6: inner.lr: expected a finite number, found nan");
  EXPECT_EQ(refusal("run = 3\n"), "job.toml:1: expected a section [run], found integer 3");
  EXPECT_EQ(refusal(kNeeded + "[quant]\nrule = 3\n"),
            "job.toml:6: quant.rule: expected a list of tables, [[quant.rule]], found integer 3");
  EXPECT_EQ(refusal("[run]\nseed = -1\n"),
            "job.toml:2: run.seed: expected integer, 0 or more, found integer -1");
}

TEST(Config, TextThatIsNotTomlNamesTheLine) {
  EXPECT_THAT(refusal("[run]\ndir = \n"), HasSubstr("job.toml:2: not TOML: "));
  EXPECT_THAT(refusal(kNeeded + "[run]\nseed = 2\n"), HasSubstr("job.toml:5: not TOML: "));
}

TEST(Config, AnOverrideWithoutSectionKeyAndValueIsRefused) {
  EXPECT_EQ(refusal(kNeeded, {"codec=int4"}),
            "--set codec=int4: expected section.key=value, did you mean outer.codec?");
  for (const char* text : {"outer.codec", "=", "outer codec.x=int4"}) {
    EXPECT_EQ(refusal(kNeeded, {text}),
              std::string("--set ") + text + ": expected section.key=value, such as outer.codec=e3m0");
  }
  EXPECT_THAT(refusal(kNeeded, {"inner.betas=[0.9,"}),
              testing::StartsWith(
                  "--set inner.betas=[0.9,: the value is not TOML; texts in a list or table go in quotes"));
}

TEST(Config, AnUnknownNameListsTheKnownOnes) {
  EXPECT_EQ(
      refusal(kNeeded + "[outer]\nmethod = \"dilco\"\n"),
      "job.toml:6: outer.method: expected one of none, ddp, diloco, streaming_diloco, eager_diloco (nearest: "
      "diloco), found "
      "\"dilco\"");
  EXPECT_THAT(refusal(kNeeded + "[outer]\ncodec = \"e3m00\"\n"),
              testing::AllOf(HasSubstr("fp32, bf16"), HasSubstr("(nearest: e3m0), found \"e3m00\"")));
  EXPECT_THAT(refusal(kNeeded + "[comm]\nbackend = \"mpl\"\n"), HasSubstr("(nearest: mpi), found \"mpl\""));
}

struct Impossible {
  std::string override_text;
  std::string message;
};

class ImpossibleValue : public testing::TestWithParam<Impossible> {};

TEST_P(ImpossibleValue, IsRefusedWithWhatWasExpected) {
  EXPECT_EQ(refusal(kNeeded, {GetParam().override_text}),
            "--set " + GetParam().override_text + ": " + GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    Ranges, ImpossibleValue,
    testing::Values(Impossible{"run.threads=0", "run.threads: expected 1 or more, found 0"},
                    Impossible{"inner.lr=0", "inner.lr: expected more than 0, found 0.0"},
                    Impossible{"inner.betas=0.9",
                               "inner.betas: expected two numbers of 0 or more, below 1, found [0.9]"},
                    Impossible{"inner.betas=[0.9, 1]",
                               "inner.betas: expected two numbers of 0 or more, below 1, found [0.9, 1.0]"},
                    Impossible{"inner.momentum=1", "inner.momentum: expected 0 or more, below 1, found 1.0"},
                    Impossible{"data.held_out=1", "data.held_out: expected 0 or more, below 1, found 1.0"},
                    Impossible{"outer.alpha=1.5", "outer.alpha: expected 0 to 1, found 1.5"},
                    Impossible{"outer.block=12", "outer.block: expected a positive multiple of 8, found 12"},
                    Impossible{"outer.k=0", "outer.k: expected 1 to 4096, found 0"},
                    Impossible{"outer.k=4097", "outer.k: expected 1 to 4096, found 4097"},
                    Impossible{"checkpoint.keep=0", "checkpoint.keep: expected 1 or more, found 0"},
                    Impossible{"comm.timeout_s=-1", "comm.timeout_s: expected more than 0, found -1.0"},
                    Impossible{"model.layers=0", "model.layers: expected 1 or more, found 0"}));

INSTANTIATE_TEST_SUITE_P(
    Constraints, ImpossibleValue,
    testing::Values(
        Impossible{
            "outer.overlap=31",
            "outer.overlap: expected at most a fragment's period, outer.sync_every = 30 steps, found 31"},
        Impossible{"outer.fragments=5", "outer.fragments: expected at most model.layers = 4, found 5"},
        Impossible{"model.layers=3", "outer.fragments: expected at most model.layers = 3, found 4"},
        Impossible{"inner.accumulate=3", "inner.accumulate: expected a divisor of inner.batch = 8, found 3"},
        Impossible{"data.sequence=257", "data.sequence: expected at most model.context = 256, found 257"},
        Impossible{"model.heads=3",
                   "model.heads: expected heads of an even size, found width 128 over 3 heads"},
        Impossible{"model.kv_heads=3", "model.kv_heads: expected a divisor of model.heads = 4, found 3"},
        Impossible{"task.kind=distill", "task.teacher: needed for task distill, a run or checkpoint"},
        Impossible{"task.kind=qat", "quant.rule: needed for task qat, at least one [[quant.rule]]"}));

TEST(Config, BadPatternsAndLinksAreRefusedWithTheReason) {
  EXPECT_THAT(refusal(kNeeded, {"lora.match=("}), HasSubstr("lora.match: expected a regular expression: "));
  EXPECT_THAT(refusal(kNeeded, {"comm.link=fast"}),
              HasSubstr("comm.link: expected a link such as 20mbit/40ms: "));
}

TEST(Config, AllZeroDistillationWeightsAreRefused) {
  EXPECT_THAT(
      refusal(kNeeded, {"task.kind=distill", "task.teacher=x", "distill.logits=0", "distill.hidden=0"}),
      HasSubstr("expected at least one above 0"));
}

TEST(Config, ErrorFeedbackThatWouldGrowIsRefused) {
  const auto with = [](const std::string& codec, const std::string& decay, const std::string& rounding) {
    return refusal(kNeeded, {"outer.codec=" + codec, "outer.decay=" + decay, "outer.rounding=" + rounding});
  };
  EXPECT_THAT(with("ternary", "1", "stochastic"),
              testing::AllOf(HasSubstr("stochastic ternary"), HasSubstr("outer.decay below 1")));
  EXPECT_THAT(with("sign", "0.6", "stochastic"), HasSubstr("outer.decay below 0.5"));
  EXPECT_EQ(with("sign", "0.4", "stochastic"), "accepted");
  EXPECT_EQ(with("sign", "1", "nearest"), "accepted");
  EXPECT_EQ(with("int2", "1", "stochastic"), "accepted");
  EXPECT_THAT(refusal(kNeeded, {"outer.embeddings_codec=sign", "outer.rounding=stochastic"}),
              HasSubstr("with stochastic sign each residual"));
}

TEST(Config, ACodecForEmbeddingsNeedsAMethodThatHasAFragmentOfThem) {
  for (const char* method : {"streaming_diloco", "eager_diloco"})
    EXPECT_EQ(refusal(kNeeded, {std::string("outer.method=") + method, "outer.embeddings_codec=int8"}),
              "accepted");
  EXPECT_EQ(refusal(kNeeded, {"outer.embeddings_codec="}), "accepted");
  EXPECT_THAT(refusal(kNeeded, {"outer.embeddings_codec=int9"}),
              HasSubstr("outer.embeddings_codec: expected one of fp32, bf16"));
  EXPECT_EQ(refusal(kNeeded, {"outer.method=diloco", "outer.embeddings_codec=int8"}),
            "--set outer.embeddings_codec=int8: outer.embeddings_codec: means nothing to outer.method = "
            "diloco; leave it out, or take streaming_diloco or eager_diloco");
}

TEST(Config, RotationNeedsABlockOfAPowerOfTwoAndADenseCodec) {
  EXPECT_EQ(refusal(kNeeded, {"outer.rotate=true"}), "accepted");
  for (const std::string block : {"24", "16384"})
    EXPECT_EQ(
        refusal(kNeeded, {"outer.rotate=true", "outer.block=" + block}),
        "--set outer.rotate=true: outer.rotate: expected outer.block to be a power of two, at most 8192, "
        "found " +
            block);
  EXPECT_THAT(refusal(kNeeded, {"outer.rotate=true", "outer.codec=topk"}),
              HasSubstr("outer.rotate: a rotation spreads the few large values that topk keeps over all"));
}

TEST(Config, ASparseCodecGathersAndStoresNothing) {
  EXPECT_EQ(refusal(kNeeded, {"outer.codec=topk", "outer.k=4096", "outer.leg=gather"}), "accepted");
  EXPECT_THAT(refusal(kNeeded, {"outer.codec=topk", "outer.leg=reduce"}),
              HasSubstr("outer.leg: reduce would code the mean once more"));
  EXPECT_THAT(refusal(kNeeded, {"outer.embeddings_codec=topk", "outer.leg=reduce"}),
              HasSubstr("outer.leg: reduce would code the mean once more"));
  EXPECT_THAT(refusal(kNeeded, {"outer.embeddings_codec=topk", "outer.rotate=true"}),
              HasSubstr("outer.rotate: a rotation spreads"));
  EXPECT_THAT(refusal(kNeeded, {"lora.base=topk"}), HasSubstr("lora.base: expected one of fp32, bf16"));
}

TEST(Config, OverlapOfAWholePeriodAndMethodsWithoutOverlapAreAccepted) {
  EXPECT_EQ(refusal(kNeeded, {"outer.overlap=30"}), "accepted");
  for (const char* method : {"diloco", "eager_diloco"})
    EXPECT_EQ(refusal(kNeeded, {std::string("outer.method=") + method, "outer.sync_every=1"}), "accepted");
}

TEST(Config, WhatHasNoDefaultIsAskedFor) {
  EXPECT_EQ(refusal("[data]\npath = \"x\"\n"), "job.toml: run.dir: needed, the folder that the run fills");
  EXPECT_EQ(refusal("[run]\ndir = \"x\"\n"),
            "job.toml: data.path: needed, text files or folders to train on");
}

TEST(Config, AMissingFileAndAFolderAreNamed) {
  EXPECT_THROW(load_config("no/such.toml", {}), ConfigError);
  const std::string folder = testing::TempDir();
  try {
    load_config(folder, {});
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("expected a TOML config file, found a folder"));
  }
}

TEST(Config, TheReferenceInDocsIsUpToDate) {
  std::ifstream file(std::string(THINWIRE_SOURCE_DIR) + "/docs/config.md");
  std::ostringstream text;
  text << file.rdbuf();
  EXPECT_EQ(text.str(), config_reference()) << "write it anew: thinwire --config-reference > docs/config.md";
}

TEST(Config, EveryExampleIsAccepted) {
  int examples = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::string(THINWIRE_SOURCE_DIR) + "/examples")) {
    if (entry.path().extension() != ".toml") continue;
    ++examples;
    EXPECT_NO_THROW(load_config(entry.path(), {})) << entry.path();
  }
  EXPECT_GT(examples, 0);
}

TEST(Nearest, CountsInsertionsDeletionsSubstitutionsAndSwaps) {
  EXPECT_EQ(edit_distance("", "abc"), 3u);
  EXPECT_EQ(edit_distance("abc", ""), 3u);
  EXPECT_EQ(edit_distance("abc", "abc"), 0u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(edit_distance("setps", "steps"), 1u);
  EXPECT_EQ(nearest("dilco", {"none", "diloco", "ddp"}), "diloco");
  EXPECT_EQ(nearest("x", {}), "");
}

}  // namespace
}  // namespace thinwire::launch
