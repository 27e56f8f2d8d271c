// The bytes of every format, pinned. A change here is a change of the wire: raise kWireVersion and say so in
// docs/wire_format.md.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "tests/quant/codec_case.h"
#include "tests/quant/hex.h"

namespace thinwire::quant {
namespace {

constexpr std::size_t kBlock = 32;
constexpr std::uint64_t kKey = 0x0123456789abcdef;

// Two blocks and six values, exact in float32: a linear congruential generator over five binades, then a
// half, zeros of both signs, infinity and a value that ties.
std::vector<float> golden_values() {
  std::vector<float> values;
  std::uint32_t state = 1;
  for (int i = 0; i < 70; ++i) {
    state = state * 1664525u + 1013904223u;
    const auto integer = static_cast<std::int32_t>(state >> 8) - (1 << 23);
    values.push_back(std::ldexp(static_cast<float>(integer), static_cast<int>(state >> 3 & 3) - 23));
  }
  values[3] = 0.0f;
  values[40] = -0.0f;
  values[66] = INFINITY;
  values[67] = -0x1p99f;
  return values;
}

struct Golden {
  const char* codec;
  const char* nearest;
  const char* stochastic;
};

constexpr std::array kGolden = {
    Golden{"fp32",
           "4eef86bfecdd05c080008b3d00000000261f66bffc9c05c0baad0c40f025663e348e77c080968e3ec089ffbe68f89ebe"
           "c8bbb93e90822c3f22a487c07031764030c6b840904731bf34fc3a3f40db803e0e7011c07e7acabf84e15bbf587739c0"
           "e2883dbf6438d43fb0c0293f102bf7bfc4bd72c094760040d484dc3f563c25bf50d429bf6e6bf740982de4bf10cdc43d"
           "60c28abd0a1afd4026064040607b583f000000802e32733f60a930bf48ca02bfe4a13e3fe0432cbf8093ffbd56f726c0"
           "98a6bc3fae60be3f006d2dbfda2c76c01cf26640e6ce89bfb8be293f2abdf2c010db6dbed01068c0082f9ebf3edbbcc0"
           "6e889e4030ab3cbf8a93b4bfd049633e9cab963ff4dddd400000807f000000f12cb97e3fb28c9b40",
           "4eef86bfecdd05c080008b3d00000000261f66bffc9c05c0baad0c40f025663e348e77c080968e3ec089ffbe68f89ebe"
           "c8bbb93e90822c3f22a487c07031764030c6b840904731bf34fc3a3f40db803e0e7011c07e7acabf84e15bbf587739c0"
           "e2883dbf6438d43fb0c0293f102bf7bfc4bd72c094760040d484dc3f563c25bf50d429bf6e6bf740982de4bf10cdc43d"
           "60c28abd0a1afd4026064040607b583f000000802e32733f60a930bf48ca02bfe4a13e3fe0432cbf8093ffbd56f726c0"
           "98a6bc3fae60be3f006d2dbfda2c76c01cf26640e6ce89bfb8be293f2abdf2c010db6dbed01068c0082f9ebf3edbbcc0"
           "6e889e4030ab3cbf8a93b4bfd049633e9cab963ff4dddd400000807f000000f12cb97e3fb28c9b40"},
    Golden{"bf16",
           "87bf06c08b3d000066bf06c00d40663e78c08f3e00bf9fbeba3e2d3f88c07640b94031bf3b3f813e11c0cabf5cbf39c0"
           "3ebfd43f2a3ff7bf73c00040dd3f25bf2abff740e4bfc53d8bbdfd404040583f0080733f31bf03bf3f3f2cbf00be27c0"
           "bd3fbe3f2dbf76c067408abf2a3ff3c06ebe68c09ebfbdc09f403dbfb5bf633e973fde40807f00f17f3f9c40",
           "87bf06c08b3d000066bf06c00d40663e77c08f3e00bf9fbeba3e2d3f88c07640b94031bf3b3f813e11c0cbbf5cbf39c0"
           "3dbfd43f2a3ff7bf73c00140dd3f25bf2abff740e4bfc53d8abdfd404040583f0080733f30bf03bf3f3f2cbf00be27c0"
           "bc3fbf3f2dbf76c0674089bf2a3ff2c06ebe68c09fbfbcc09e403cbfb5bf633e973fde40807f00f17f3f9c40"},
    Golden{"e4m3",
           "002c533c00a2903c004a126deaf24b00e9f27359f95be2dc5e65fa797ee5665af3efe8f6e67065f1f97270e5e17eed4b"
           "c77e73640065e2de63e2cef16a6be2f675e761fdd5f5e9fa79e2ea5500007ef60000",
           "002c533c00a2903c004a126deaf24a00e9f27359fa5be2dc5e65fa797ee66659f3efe8f6e67065f1f97170e5e17eed4b"
           "c87e73640065e2de62e2cef26b6ae2f674e862fed5f5e8fb79e3ea5500007ef60000"},
    Golden{"e5m2",
           "002cd33800a21039004a9269f1f56100f0f57568f969edea6b6ff9797bef6f69f6f4f0f7ef746ef5f97574eeed7bf261"
           "e07b756e006fedeb6dede3f57171edf776f06dfbe7f6f0f978edf16600007bf70000",
           "002cd33800a21039004a9269f1f56100f1f57569f969edea6b6ef9797bef6f69f6f3f0f7ef746ef4f87574efec7bf361"
           "e07b756e006fedeb6dede3f57171edf776f06dfbe7f6f0fa79eef16700007bf70000"},
    Golden{"int8",
           "003b3a3d00197f3d0003016ee9d20100ecd23005ab06f5f9080fa3557ff11006ceddedc0f0240fd6ad2c26f2f57ce302"
           "ff7f300e000ff5f80cf5fed61818f5c23aef0b86fcc6eca150f4e90400007fc10000",
           "003b3a3d00197f3d0003016ee9d20200ecd23005ab06f5f9080fa3557ff01006cedeedc0f0240fd6ad2c26f1f57de301"
           "ff7f300e000ff5f80cf5fed61718f5c23aee0b86fcc6eca14ff4ea0300007fc10000"},
    Golden{"int4",
           "002c533f00a2903f004a1270df00df030b0f105bf701edcf2fe12bf27f0e7013100ff1e011dff391d0bff40f00d700",
           "002c533f00a2903f004a1270ef00df020b0f115bf711edcf2fe13cf27f0e7012100ff1d021cff490d0aff40f00d700"},
    Golden{"int2", "0025813f0030c93f007451700b1bf2600dbec3c23707f0fcb08dbb3d9000",
           "005ef63f00bd284000abaa703f0f3f63f1fff302c704cfc3ccc0fc31930c"},
    Golden{"nf4",
           "30c6b8400a1afd40000080713577357b816688e16f894325a648b16bf675f78b8766684799266c0837156d75772f77",
           "30c6b8400a1afd40000080713577368b717687e16f784325b638b16af675f78b876668479a366c1827156e85772f77"},
    Golden{"e2m1",
           "005e763f00bda83f00ab2a70ca00ca041e99116e9712bcda3ac14e94790b7014109991c022d9a5f1d0ea960a00d700",
           "005e763f00bda83f00ab2a70ca00ca140e99106ea701bdda4ac14ea3790b7914100991c022d9a4f1d0fa961a00d700"},
    Golden{"e3m0",
           "30c6b83d0a1afd3d0000806edc01dc263ebb436ec724deec5cd45ec57b1d794640bbb4d954ebc6f3eaecb62c00e700",
           "30c6b83d0a1afd3d0000806edc00dc352fbb436ec724deec6cd45ec57b1d794640bcc3e945ecd5f3eafcc72c00e700"},
    Golden{"ternary", "00c6384000e4984000004071ea6290001b0249511336003613400306",
           "30c6b8400a1afd4000008071ef0b09001b02365101a2000001000306"},
    Golden{"sign", "00b0cb3f0047064000008070334df29915edac6f08",
           "30c6b8400a1afd400000807127776c7d091b124629"},
    Golden{"topk", "a340407108e0000f00011c10022560023340033790033bc0034120044350040a02a24203",
           "4040807108e0000f00011c10022560023340033790033bc0034120044350040a02a24202"},
};

class GoldenVector : public ::testing::TestWithParam<Golden> {};
INSTANTIATE_TEST_SUITE_P(Codecs, GoldenVector, ::testing::ValuesIn(kGolden),
                         [](const auto& golden) { return std::string(golden.param.codec); });

std::string code_of(const std::string& name, Rounding rounding) {
  // Of topk's one chunk of 70 values 18 are kept.
  const auto codec = make_codec({.name = name, .block = kBlock, .rounding = rounding, .k = 1024});
  return testing::to_hex(testing::encode(*codec, golden_values(), kKey));
}

TEST_P(GoldenVector, PinsTheBytesToNearest) {
  EXPECT_EQ(code_of(GetParam().codec, Rounding::kNearest), GetParam().nearest);
}

TEST_P(GoldenVector, PinsTheBytesRoundedStochastically) {
  EXPECT_EQ(code_of(GetParam().codec, Rounding::kStochastic), GetParam().stochastic);
}

TEST(GoldenVectors, CoverEveryCodec) {
  std::vector<std::string> covered;
  for (const Golden& golden : kGolden) covered.emplace_back(golden.codec);
  EXPECT_EQ(covered, codec_names());
}

TEST(GoldenVectors, PinTheStreamKey) {
  EXPECT_EQ(stream_key({.seed = 1, .step = 2, .worker = 3, .fragment = 4, .leg = 5}), 0x90bb69b7166551deu);
}

}  // namespace
}  // namespace thinwire::quant
