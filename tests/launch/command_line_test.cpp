// What is said of a command line that cannot be read.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/errors.h"
#include "launch/program.h"

namespace thinwire::launch {
namespace {

using testing::HasSubstr;
using Words = std::vector<std::string>;

std::string refusal(const Words& words) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  const int code = run_program(words);
  std::fflush(nullptr);
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
  EXPECT_EQ(code, kUsage) << testing::PrintToString(words);
  return testing::internal::GetCapturedStderr();
}

const std::string kConfig = THINWIRE_SOURCE_DIR "/examples/pretrain.toml";

struct Slip {
  Words words;
  std::string said;
};

TEST(CommandLine, ASlipIsToldWhatWasMeant) {
  const std::vector<Slip> slips = {
      {{"lanch", kConfig}, "thinwire: error: unknown command lanch; did you mean launch?"},
      {{"bench", "codecs"}, "unknown command bench codecs; did you mean bench codec?"},
      {{"bench"}, "expected a command after bench, one of train, codec, collective, overlap"},
      {{}, "expected a command, one of train, launch, resume"},
      {{"quux"}, "unknown command quux; expected one of train, launch"},
      {{"launch", kConfig, "--worker", "2"},
       "thinwire launch: error: unknown option --worker; did you mean --workers?"},
      {{"launch", kConfig, "-n", "2", "--sett=inner.lr=1"}, "unknown option --sett; did you mean --set?"},
      {{"launch", kConfig, "-n", "2", "--dryrun"}, "unknown option --dryrun; did you mean --dry-run?"},
      {{"bench", "codec", "--codecs", "int4"},
       "thinwire bench codec: error: unknown option --codecs; did you mean --codec?"},
      {{"verify", "a", "b"}, "expected nothing more, found b"},
      {{"export", "a", "-o", "b", "--to", "safetensor"},
       "--to: expected one of safetensors, packed (nearest: safetensors), found \"safetensor\""},
      {{"bench", "codec", "--codec", "imt4"}, "(nearest: int4), found \"imt4\""},
      {{"bench", "collective", "--leg", "gathr"},
       "--leg: expected one of auto, gather, reduce (nearest: gather)"},
      {{"bench", "train", "--size", "smal"}, "--size: expected one of small, medium, large (nearest: small)"},
  };
  for (const Slip& slip : slips) EXPECT_THAT(refusal(slip.words), HasSubstr(slip.said));
}

// Every option with a number, and every one with a file.
TEST(CommandLine, ANumberOutOfRangeIsToldTheRange) {
  const std::vector<Slip> slips = {
      {{"launch", kConfig, "-n", "0"}, "--workers: expected 1 or more, found 0 (see"},
      {{"launch", kConfig, "-n", "-3"}, "--workers: expected 1 or more, found -3"},
      {{"launch", kConfig, "-n", "two"}, "--workers: expected a whole number of 1 or more, found two"},
      {{"launch", kConfig, "-n", "2.5"}, "--workers: expected a whole number of 1 or more, found 2.5"},
      {{"launch", kConfig, "-n", "99999999999"}, "--workers: expected at most 2147483647, found 99999999999"},
      {{"launch", kConfig, "-n", "99999999999999999999"},
       "--workers: expected at most 2147483647, found 9999"},
      {{"resume", "run", "-n", "0"}, "--workers: expected 1 or more, found 0"},
      {{"train", kConfig, "--rank", "-1"}, "--rank: expected 0 or more, found -1"},
      {{"coordinator", "-n", "0"}, "--workers: expected 1 or more, found 0"},
      {{"coordinator", "-n", "2", "--join-timeout", "0"}, "--join-timeout: expected more than 0, found 0"},
      {{"coordinator", "-n", "2", "--timeout", "soon"},
       "--timeout: expected a number of more than 0, found soon"},
      {{"certs", "-o", "x", "-n", "-1"}, "--workers: expected 0 or more, found -1"},
      {{"certs", "-o", "x", "--days", "0"}, "--days: expected 1 or more, found 0"},
      {{"eval", "run", "--threads", "0"}, "--threads: expected 1 or more, found 0"},
      {{"generate", "run", "--max-tokens", "0"}, "--max-tokens: expected 1 or more, found 0"},
      {{"generate", "run", "--temperature", "-1"}, "--temperature: expected 0 or more, found -1"},
      {{"generate", "run", "--temperature", "nan"},
       "--temperature: expected a number of 0 or more, found nan"},
      {{"generate", "run", "--top-k", "-1"}, "--top-k: expected 0 or more, found -1"},
      {{"generate", "run", "--seed", "x"}, "--seed: expected a whole number of 0 or more, found x"},
      {{"generate", "run", "--count", "0"}, "--count: expected 1 or more, found 0"},
      {{"bench", "train", "--threads", "0"}, "--threads: expected 1 or more, found 0"},
      {{"bench", "train", "--repetitions", "0"}, "--repetitions: expected 1 or more, found 0"},
      {{"bench", "codec", "--values", "0"}, "--values: expected 1"},
      {{"bench", "codec", "--threads", "1,0"}, "--threads: expected 1 or more, found 0"},
      {{"bench", "codec", "--block", "0"}, "--block: expected 1 or more, found 0"},
      {{"bench", "collective", "--workers", "1"}, "--workers: expected 2 to 64, found 1"},
      {{"bench", "collective", "--bytes", "3"}, "--bytes: expected 4"},
      {{"bench", "overlap", kConfig, "--workers", "0"}, "--workers: expected 1 or more, found 0"},
      {{"launch", kConfig, "-n", "2", "--hosts", "no/such"},
       "--hosts: expected a file, found nothing at no/such"},
      {{"launch", kConfig, "-n", "2", "--hosts", "/"}, "--hosts: expected a file, found a folder: /"},
      {{"resume", "run", "--hosts", "no/such"}, "--hosts: expected a file, found nothing at no/such"},
      {{"train", kConfig, "--tls", "no/such"}, "--tls: expected a folder, found nothing at no/such"},
      {{"train", kConfig, "--tls", kConfig}, "--tls: expected a folder, found a file: "},
      {{"train", kConfig, "--token-file", "no/such"},
       "--token-file: expected a file, found nothing at no/such"},
      {{"coordinator", "-n", "1", "--token-file", "no/such"}, "--token-file: expected a file, found nothing"},
      {{"bench", "overlap", "no/such.toml"}, "config: expected a file, found nothing at no/such.toml"},
      {{"eval", "no/such"}, "no/such: no such run, checkpoint or file"},
      {{"generate", "no/such"}, "no/such: no such run, checkpoint or file"},
      {{"export", "no/such", "--to", "packed", "-o", "x"}, "no/such: no such run, checkpoint or file"},
      {{"inspect", "no/such"}, "no/such: no such file or folder"},
      {{"launch", "no/such.toml", "-n", "2"}, "no/such.toml: there is no such file"},
      {{"train", "no/such.toml"}, "no/such.toml: there is no such file"},
  };
  for (const Slip& slip : slips) {
    const std::string said = refusal(slip.words);
    EXPECT_THAT(said, HasSubstr(slip.said));
    EXPECT_LT(said.size(), 400u) << said;
    EXPECT_THAT(said, testing::MatchesRegex("thinwire[^\n]*: error: [^\n]*\n"));
  }
}

}  // namespace
}  // namespace thinwire::launch
